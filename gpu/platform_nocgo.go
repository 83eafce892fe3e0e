//go:build !cgo && !js

package gpu

import (
	"errors"

	"wgjepa/gpu/internal/driver"
)

func platformAdapters() []Info { return nil }

func platformOpen(Info) (driver.Device, error) {
	return nil, errors.New("this binary was built without cgo and has no GPU driver")
}

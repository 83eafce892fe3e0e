//go:build !js

package gpu

import (
	"errors"

	"wgjepa/gpu/internal/driver"
)

func platformAdapters() []Info { return nil }

func platformOpen(Info) (driver.Device, error) {
	return nil, errors.New("no WebGPU driver in this build")
}

//go:build cgo && !js

package gpu

import (
	"wgjepa/gpu/internal/driver"
	"wgjepa/gpu/internal/wgpu"
)

func platformAdapters() []Info { return wgpu.Adapters() }

func platformOpen(info Info) (driver.Device, error) { return wgpu.Open(info) }

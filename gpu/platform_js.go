package gpu

import (
	"wgjepa/gpu/internal/browser"
	"wgjepa/gpu/internal/driver"
)

func platformAdapters() []Info { return browser.Adapters() }

func platformOpen(info Info) (driver.Device, error) { return browser.Open(info) }

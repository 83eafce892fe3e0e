package volume

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"wgjepa/internal/atomicfile"
)

// WriteNIfTI writes one volume (H, W, D), row-major, as NIfTI-1 with its affine
// (as sform, code 1 "scanner"; the spacings are the affine's).
func WriteNIfTI[T uint8 | float32](w io.Writer, size [3]int, affine [4][4]float64, values []T) error {
	return WriteChannels(w, 1, size, affine, values)
}

// WriteChannels is [WriteNIfTI] of several volumes (C, H, W, D): a 4-D file whose last
// axis are the channels.
func WriteChannels[T uint8 | float32](w io.Writer, channels int, size [3]int, affine [4][4]float64, values []T) error {
	for _, s := range append(size[:], channels) {
		if s < 1 || s > math.MaxInt16 {
			return fmt.Errorf("volume: NIfTI-1 cannot hold an axis of length %d (1 to 32767)", s)
		}
	}
	nx, ny, nz := size[0], size[1], size[2]
	if len(values) != channels*nx*ny*nz {
		panic(fmt.Sprintf("volume: WriteNIfTI: %d values for %d channels of size %v", len(values), channels, size))
	}
	axes := 3
	if channels > 1 {
		axes = 4
	}
	var h [niftiHeaderSize + 4]byte
	le := binary.LittleEndian
	float := func(at int, v float64) { le.PutUint32(h[at:], math.Float32bits(float32(v))) }
	bytes, code := 1, 2
	if _, ok := any(values).([]float32); ok {
		bytes, code = 4, 16
	}
	le.PutUint32(h[:], niftiHeaderSize)
	h[38] = 'r' // "regular", kept for Analyze readers
	for i, d := range []int{axes, nx, ny, nz, channels, 1, 1, 1} {
		le.PutUint16(h[offDim+2*i:], uint16(d))
	}
	le.PutUint16(h[offDatatype:], uint16(code))
	le.PutUint16(h[offBitpix:], uint16(8*bytes))
	float(offPixdim, 1)
	for i, s := range spacing(affine, 3) {
		float(offPixdim+4+4*i, s)
	}
	float(offPixdim+16, 1)
	float(offVoxOffset, niftiHeaderSize+4)
	float(offSclSlope, 1)
	h[offXYZTUnits] = 2 // mm
	le.PutUint16(h[offSformCode:], 1)
	for i := range 3 {
		for j := range 4 {
			float(offSrow+16*i+4*j, affine[i][j])
		}
	}
	copy(h[offMagic:], "n+1\x00")
	b := bufio.NewWriterSize(w, 1<<16)
	b.Write(h[:])
	for c := range channels {
		v := values[c*nx*ny*nz : (c+1)*nx*ny*nz]
		switch v := any(v).(type) {
		case []uint8:
			for z := range nz {
				for y := range ny {
					for x := range nx {
						b.WriteByte(v[(x*ny+y)*nz+z])
					}
				}
			}
		case []float32:
			var p [4]byte
			for z := range nz {
				for y := range ny {
					for x := range nx {
						le.PutUint32(p[:], math.Float32bits(v[(x*ny+y)*nz+z]))
						b.Write(p[:])
					}
				}
			}
		}
	}
	return b.Flush()
}

// WriteFile writes one volume as NIfTI-1, compressed where the name ends in .gz.
// The file appears under its name only when it is complete.
func WriteFile[T uint8 | float32](name string, size [3]int, affine [4][4]float64, values []T) error {
	return WriteChannelsFile(name, 1, size, affine, values)
}

// WriteChannelsFile is [WriteFile] of several volumes (C, H, W, D), as [WriteChannels] writes them.
func WriteChannelsFile[T uint8 | float32](name string, channels int, size [3]int, affine [4][4]float64, values []T) error {
	err := atomicfile.Write(name, func(w io.Writer) error {
		if !strings.HasSuffix(name, ".gz") {
			return WriteChannels(w, channels, size, affine, values)
		}
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return err
		}
		return errors.Join(WriteChannels(z, channels, size, affine, values), z.Close())
	})
	if err != nil {
		return fmt.Errorf("volume: writing %s: %w", name, err)
	}
	return nil
}

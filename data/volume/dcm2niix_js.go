package volume

import (
	"fmt"
	"io/fs"
)

// converter is the program that decodes compressed DICOM.
const converter = "dcm2niix"

// openConverted refuses: this program can start no other.
func openConverted(_ fs.FS, _ *dicom, files []*dicomFile) (Image, error) {
	return nil, fmt.Errorf("compressed (%s): convert it to NIfTI with %s, or export the series uncompressed", syntaxName(files[0].syntax), converter)
}

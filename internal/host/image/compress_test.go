package image

import (
	"compress/bzip2"
	"compress/gzip"
	"io"
)

// As package cli does.
func init() {
	RegisterCompression(MagicGzip, func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) })
	RegisterCompression(MagicBzip2, func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(bzip2.NewReader(r)), nil })
}

package cli

import (
	"compress/bzip2"
	"compress/gzip"
	"io"

	"porthole/internal/host/image"
)

func init() {
	image.RegisterCompression(image.MagicGzip, func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) })
	image.RegisterCompression(image.MagicBzip2, func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(bzip2.NewReader(r)), nil })
}

package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// layer is a zstd-compressed layer kept in a file. The registry library's own
// file layers compress once per use of the layer; this one compresses once.
type layer struct {
	file   string
	digest v1.Hash // of the compressed file
	diffID v1.Hash // of the tar inside
	size   int64
}

// newLayer normalises the tar at source and writes it, compressed, to file.
func newLayer(source, file string, epoch time.Time) (*layer, error) {
	in, err := os.Open(source)
	if err != nil {
		return nil, fmt.Errorf("cannot read the layer's tar: %w", err)
	}
	defer in.Close()
	out, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("cannot write the layer: %w", err)
	}
	defer out.Close()

	compressed, plain := sha256.New(), sha256.New()
	z, err := zstd.NewWriter(io.MultiWriter(out, compressed), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return nil, fmt.Errorf("cannot start zstd: %w", err)
	}
	if err := normalise(io.MultiWriter(z, plain), bufio.NewReaderSize(in, 1<<20), epoch); err != nil {
		return nil, fmt.Errorf("cannot make a layer of %s: %w", source, err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("cannot compress %s: %w", source, err)
	}
	if err := out.Close(); err != nil {
		return nil, fmt.Errorf("cannot write the layer: %w", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the layer back: %w", err)
	}
	return &layer{file: file, digest: hashOf(compressed), diffID: hashOf(plain), size: info.Size()}, nil
}

func hashOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// Digest, DiffID, Size, MediaType, Compressed and Uncompressed make it a
// v1.Layer.
func (l *layer) Digest() (v1.Hash, error) { return l.digest, nil }

// DiffID is the digest of the uncompressed tar.
func (l *layer) DiffID() (v1.Hash, error) { return l.diffID, nil }

// Size is the compressed size in bytes.
func (l *layer) Size() (int64, error) { return l.size, nil }

// MediaType is that of zstd layers.
func (l *layer) MediaType() (types.MediaType, error) { return types.OCILayerZStd, nil }

// Compressed reads the zstd file.
func (l *layer) Compressed() (io.ReadCloser, error) { return os.Open(l.file) }

// Uncompressed reads the tar inside.
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	f, err := os.Open(l.file)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &unpacked{z.IOReadCloser(), f}, nil
}

type unpacked struct {
	io.ReadCloser
	file *os.File
}

// Close closes the decoder and the file below it.
func (u *unpacked) Close() error {
	_ = u.ReadCloser.Close()
	return u.file.Close()
}

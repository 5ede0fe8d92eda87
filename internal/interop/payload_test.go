package interop

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// payload is a message, or a body, in a file.
type payload struct {
	kind   string // text or binary
	file   string
	size   int
	sha256 string
}

func newPayload(t *testing.T, dir, name, kind string, data []byte) payload {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return payload{kind, file, len(data), hash(data)}
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// payloads are the messages that the tests send.
type payloads struct {
	text, binary           payload
	emptyText, emptyBinary payload
	largeText, largeBinary payload   // 16 MiB
	refusal                payload   // a body for a refusal, larger than any buffer
	row                    []payload // of many sizes, those at which a frame's length changes its form among them
}

func newPayloads(t *testing.T) *payloads {
	dir := t.TempDir()
	const large = 16 << 20
	p := &payloads{
		text:        newPayload(t, dir, "text", "text", []byte("grüße aus dem tunnel, 🐙")),
		binary:      newPayload(t, dir, "binary", "binary", everyByte()),
		emptyText:   newPayload(t, dir, "empty-text", "text", nil),
		emptyBinary: newPayload(t, dir, "empty-binary", "binary", nil),
		largeText:   newPayload(t, dir, "large-text", "text", prose(large)),
		largeBinary: newPayload(t, dir, "large-binary", "binary", noise(large)),
		refusal:     newPayload(t, dir, "refusal", "text", prose(300<<10)),
	}
	for _, size := range []int{1, 124, 125, 126, 127, 1000, 4095, 16384, 65534, 65535, 65536, 65537, 200_000} {
		p.row = append(p.row,
			newPayload(t, dir, fmt.Sprintf("text-%d", size), "text", prose(size)),
			newPayload(t, dir, fmt.Sprintf("binary-%d", size), "binary", noise(size)))
	}
	return p
}

func everyByte() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// prose is what compresses.
func prose(size int) []byte {
	var b bytes.Buffer
	b.Grow(size + 100)
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%d frames hang on the wall, and if one of them should fall\n", i)
	}
	return b.Bytes()[:size]
}

// noise is what does not. The longer begins with the shorter.
func noise(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os/exec"
	"testing"
)

// site is wsproxy before a backend for plain HTTP, over one scheme.
type site struct {
	proxy   *proxy
	backend *httpBackend
	scheme  string
	large   payload
}

// at is a URL of the site.
func (s *site) at(path string) string { return s.proxy.at(s.scheme, path) }

// curl prepares a run of curl, which ends with the test.
func (s *site) curl(t *testing.T, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	fixed := []string{"--disable", "--silent", "--show-error", "--noproxy", "*", "--cacert", s.proxy.cert}
	cmd := exec.CommandContext(ctx, "curl", append(fixed, args...)...)
	cmd.SysProcAttr = own()
	return cmd
}

// run runs curl, which must do well, and gives what it prints.
func run(t *testing.T, cmd *exec.Cmd) (stdout, stderr string) {
	t.Helper()
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, errors.Bytes())
	}
	return string(out), errors.String()
}

// fetch is run for those who need no more than what curl prints on standard output.
func (s *site) fetch(t *testing.T, args ...string) string {
	t.Helper()
	out, _ := run(t, s.curl(t, args...))
	return out
}

// fetchLarge runs curl, which must print the large body, and gives what it writes beside that.
func (s *site) fetchLarge(t *testing.T, args ...string) (stderr string) {
	t.Helper()
	var errors bytes.Buffer
	sum := sha256.New()
	cmd := s.curl(t, args...)
	cmd.Stdout, cmd.Stderr = sum, &errors
	if err := cmd.Run(); err != nil {
		t.Fatalf("curl: %v\n%s", err, errors.Bytes())
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != s.large.sha256 {
		t.Errorf("sha256 %s, want %s", got, s.large.sha256)
	}
	return errors.String()
}

// stream is a streamed answer that curl reads.
type stream struct {
	t   *testing.T
	cmd *exec.Cmd
	r   *bufio.Reader
}

func (s *site) stream(t *testing.T) *stream {
	t.Helper()
	cmd := s.curl(t, "--no-buffer", s.at("/http/steps"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &stream{t, cmd, bufio.NewReader(out)}
}

// first reads the line that comes at once.
func (st *stream) first() {
	st.t.Helper()
	if line, err := st.r.ReadString('\n'); line != "line 1\n" {
		st.t.Errorf("first line %q, %v, want line 1", line, err)
	}
}

// rest reads the line that comes when the backend may go on, and the end.
func (st *stream) rest() {
	st.t.Helper()
	if rest, err := io.ReadAll(st.r); string(rest) != "line 2\n" {
		st.t.Errorf("then %q, %v, want line 2", rest, err)
	}
	if err := st.cmd.Wait(); err != nil {
		st.t.Errorf("curl: %v", err)
	}
}

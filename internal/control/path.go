package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"wsproxy/internal/sock"
)

// DefaultPath is where the wsproxy that runs with a configuration file listens when it is told nothing
// else. It makes nothing: Listen does. Of these folders it is in the first that can be used:
//
//	$RUNTIME_DIRECTORY         which systemd makes for a unit
//	/run/wsproxy               for root, and for a user to whom it belongs
//	$XDG_RUNTIME_DIR/wsproxy
//	TMPDIR/wsproxy-UID
//
// The name stands for the file, whatever the working directory: it has a part for the path as given and
// one for the path without links. The first stays when a link is pointed elsewhere, as Kubernetes and
// NixOS do for each new version of the file; by the second the file is found under another name.
func DefaultPath(configFile string) string { return system().path(configFile) }

// Find looks where the wsproxy that runs with a configuration file listens: also in folders that only
// the environment of that wsproxy leads to. An error is an ErrNobody when it finds none, and says where
// it would be.
func Find(ctx context.Context, configFile string) (path string, err error) {
	return system().find(ctx, configFile)
}

// surroundings are what the choice of a folder depends on.
type surroundings struct {
	env       func(string) string
	run, temp string
	uid       int // -1 where there are none
}

func system() surroundings {
	return surroundings{env: os.Getenv, run: "/run", temp: os.TempDir(), uid: os.Geteuid()}
}

func (s surroundings) path(configFile string) string {
	folders := s.folders()
	chosen := len(folders) - 1
	for i, folder := range folders {
		if usable(folder) {
			chosen = i
			break
		}
	}
	given, resolved := hashes(configFile)
	// A socket that was made before the links changed, so that it is seen whether it is in use.
	if paths, _ := sockets(folders[chosen], given+"-", ""); len(paths) > 0 {
		return paths[0]
	}
	return filepath.Join(folders[chosen], given+"-"+resolved+suffix)
}

// folders are those of DefaultPath, in its order.
func (s surroundings) folders() (folders []string) {
	// Several are separated by colons.
	if first, _, _ := strings.Cut(s.env("RUNTIME_DIRECTORY"), ":"); filepath.IsAbs(first) {
		folders = append(folders, filepath.Clean(first))
	}
	if s.uid >= 0 {
		folders = append(folders, filepath.Join(s.run, "wsproxy"))
	}
	if dir := s.env("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		folders = append(folders, filepath.Join(dir, "wsproxy"))
	}
	return append(folders, filepath.Join(s.temp, s.tempName()))
}

func (s surroundings) tempName() string {
	if s.uid < 0 {
		return "wsproxy" // where the folder for temporary files is the user's own
	}
	return "wsproxy-" + strconv.Itoa(s.uid)
}

// everywhere are the folders of DefaultPath in whatever environment a wsproxy may run.
func (s surroundings) everywhere() []string {
	folders := s.folders()
	patterns := []string{filepath.Join(s.run, "*"), filepath.Join(s.run, "user", strconv.Itoa(s.uid), "wsproxy")}
	for _, temp := range []string{s.temp, "/tmp", "/var/tmp"} {
		patterns = append(patterns, filepath.Join(temp, s.tempName()))
		if s.uid == 0 {
			patterns = append(patterns, filepath.Join(temp, "wsproxy-*"))
		}
	}
	if s.uid == 0 { // root may ask everyone
		patterns = append(patterns, filepath.Join(s.run, "user", "*", "wsproxy"))
	}
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern) // in order; a pattern in TMPDIR is nobody's
		folders = append(folders, found...)
	}
	seen := make(map[string]bool)
	return slices.DeleteFunc(folders, func(folder string) bool {
		defer func() { seen[folder] = true }()
		return seen[folder]
	})
}

func (s surroundings) find(ctx context.Context, configFile string) (string, error) {
	given, resolved := hashes(configFile)
	folders := s.everywhere()
	var denied error
	for _, match := range [][2]string{{given + "-", ""}, {"", "-" + resolved}} {
		for _, folder := range folders {
			paths, err := sockets(folder, match[0], match[1])
			if errors.Is(err, fs.ErrPermission) && slices.Contains(s.folders(), folder) {
				denied = fmt.Errorf("%s: only root and the user that runs wsproxy may look there", folder)
			}
			for _, path := range paths {
				conn, err := dial(ctx, path)
				if err == nil {
					conn.Close()
					return path, nil
				}
				if !errors.Is(err, ErrNobody) {
					denied = err
				}
			}
		}
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if denied != nil {
		return "", fmt.Errorf("find the wsproxy that runs with %s: %w", configFile, denied)
	}
	return "", nobody(fmt.Sprintf("no wsproxy runs with %s: nothing listens on %s", configFile, s.path(configFile)))
}

const suffix = ".sock"

// sockets lists the sockets in a folder whose name has that beginning and that end.
func sockets(folder, prefix, end string) (paths []string, err error) {
	entries, err := os.ReadDir(folder)
	for _, entry := range entries {
		name, isSocket := strings.CutSuffix(entry.Name(), suffix)
		if isSocket && len(name) == 2*hashLength+1 && strings.HasPrefix(name, prefix) && strings.HasSuffix(name, end) {
			paths = append(paths, filepath.Join(folder, entry.Name()))
		}
	}
	return paths, err
}

// usable reports whether this process can have a socket in a folder, or make the folder.
func usable(folder string) bool {
	if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return sock.Writable(filepath.Dir(folder))
	}
	return private(folder) == nil && sock.Writable(folder)
}

const hashLength = 12

// hashes stand for a file's path as given and for the one without links.
func hashes(file string) (given, resolved string) {
	if absolute, err := filepath.Abs(file); err == nil {
		file = absolute
	}
	target, err := filepath.EvalSymlinks(file)
	if err != nil { // it is not there
		target = file
	}
	return hash(file), hash(target)
}

func hash(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:])[:hashLength]
}

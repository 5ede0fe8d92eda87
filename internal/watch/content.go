package watch

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxFile   = 1 << 20 // bytes that are read of a file
	maxFolder = 10000   // entries that are read of a folder
)

// digest stands for the content of a file, or of the files in a folder. The zero digest is none's.
type digest [sha256.Size]byte

// read digests a file, or the files in a folder.
func read(name string) (d digest, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return d, err
	}
	h := sha256.New()
	if !info.IsDir() {
		err = addFile(h, name, info)
		return digest(h.Sum(nil)), err
	}
	files, err := list(name)
	if err != nil {
		return d, err
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err == nil && info.IsDir() {
			continue
		}
		fmt.Fprintf(h, "%q\n", file)
		if err == nil {
			err = addFile(h, file, info)
		}
		if err != nil {
			fmt.Fprintln(h, "cannot be read") // whoever reads the folder will say why
		}
	}
	return digest(h.Sum(nil)), nil
}

// addFile adds a file's content to the hash.
func addFile(h hash.Hash, name string, info os.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file") // others may never end, or wait for a writer
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(h, io.LimitReader(f, maxFile))
	if n == maxFile {
		fmt.Fprintln(h, info.Size(), info.ModTime()) // for what is not read
	}
	fmt.Fprintln(h, n) // where this file ends and the next begins
	return err
}

// list gives the paths of what is in a folder and counts, in order.
func list(folder string) ([]string, error) {
	f, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(maxFolder + 1)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(names) > maxFolder {
		return nil, fmt.Errorf("more than %d files", maxFolder)
	}
	// Editors leave files of their own beside those they write.
	names = slices.DeleteFunc(names, func(name string) bool {
		return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~")
	})
	slices.Sort(names)
	for i, name := range names {
		names[i] = filepath.Join(folder, name)
	}
	return names, nil
}

// places are where something may happen that changes a content.
type places struct {
	names   map[string]bool // paths whose replacement matters
	whole   map[string]bool // folders of which each file matters
	folders map[string]bool // those to watch
}

// find looks where the content of files comes from. Folders are watched and not files: editors and
// Kubernetes put another in a file's place.
func find(files []string) places {
	p := places{names: make(map[string]bool), whole: make(map[string]bool), folders: make(map[string]bool)}
	for _, name := range files {
		place := p.add(name)
		if info, err := os.Stat(name); err != nil || !info.IsDir() {
			continue
		}
		p.whole[place], p.folders[place] = true, true
		inside, _ := list(name) // a fault shows when it is read
		for _, file := range inside {
			if info, err := os.Lstat(file); err == nil && info.Mode()&os.ModeSymlink != 0 {
				p.add(file)
			}
		}
	}
	return p
}

// add adds what leads to a file, and returns its path without links.
func (p places) add(name string) (path string) {
	for _, path = range Hops(name) {
		p.names[path] = true
		p.folders[filepath.Dir(path)] = true
	}
	return path
}

// Hops are the paths that lead to a file: every link on the way, each in a folder without links, and what
// is at the end of them. Whoever watches the folders of all these hears of it when another file is in its
// place. None stands for a working directory that is gone.
func Hops(name string) []string {
	name, err := filepath.Abs(name)
	if err != nil {
		return nil
	}
	const most = 40 // what Linux follows
	var paths []string
	for range most {
		link := ""
		// The first part of the name that is a link.
		for i := 1; i <= len(name); i++ {
			if i < len(name) && !os.IsPathSeparator(name[i]) {
				continue
			}
			if info, err := os.Lstat(name[:i]); err == nil && info.Mode()&os.ModeSymlink != 0 {
				link = name[:i]
				break
			}
		}
		if link == "" {
			return append(paths, name)
		}
		paths = append(paths, link)
		target, err := os.Readlink(link)
		if err != nil {
			return paths
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		name = filepath.Join(target, strings.TrimPrefix(name, link))
	}
	return paths
}

package routing

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// What include may come to.
const (
	maxIncludedFiles = 10_000
	maxIncludedSize  = 64 << 20 // of all files together
)

const includeWant = "write the name of a folder of route files, e.g. routes.d, a file or a pattern, e.g. routes.d/*.yaml"

// includedKeys are those of an included file that is a mapping; keys that begin with x- are there, too.
var includedKeys = schema[Config]{topKeys.field("routes")}

// inclusion is what include leaves for later, when the file itself has been read.
type inclusion struct {
	at   value
	path string
}

// include is a name or a list of names.
func (d *decoder) include(v value, _ *Config) {
	items := []value{v}
	if v.node.Kind == yaml.SequenceNode {
		items = nil
		for i, node := range v.node.Content {
			items = append(items, used(node, v.key+"["+strconv.Itoa(i)+"]"))
		}
		if len(items) == 0 {
			d.fault(v, "an empty list stands here; %s", includeWant)
		}
	}
	for _, item := range items {
		if !d.spend() {
			return
		}
		if path := d.path(item, includeWant); path != "" {
			d.includes = append(d.includes, inclusion{item, path})
		}
	}
}

// includeAll adds to cfg the routes of all files that include names, folder by folder and in each by
// name. It notes what was read in cfg.Files.
func (d *decoder) includeAll(cfg *Config) {
	main, _ := os.Stat(d.file)
	size := 0
	for _, in := range d.includes {
		for _, name := range d.filesOf(in, cfg) {
			if slices.Contains(cfg.Files[1:], name) {
				continue // two patterns name it
			}
			info, err := os.Stat(name)
			if err == nil && main != nil && os.SameFile(main, info) {
				d.fault(in.at, "names this file itself; give route files a folder of their own")
				continue
			}
			if len(cfg.Files) >= maxIncludedFiles || size > maxIncludedSize {
				d.fault(in.at, "names too many files; at most %d of together %d MiB are read", maxIncludedFiles, maxIncludedSize>>20)
				return
			}
			cfg.Files = append(cfg.Files, name)
			switch {
			case err != nil:
				d.note(Fault{File: name, Problem: cause(err).Error()})
				continue
			case !info.Mode().IsRegular(): // opening a named pipe might wait for ever
				d.note(Fault{File: name, Problem: "is not a file"})
				continue
			}
			data, err := readFile(name, maxFileSize)
			if err != nil {
				d.note(Fault{File: name, Problem: err.Error()})
				continue
			}
			size += len(data)
			d.includedFile(name, data, cfg)
		}
	}
}

// filesOf lists the files that one entry of include names. Of a folder these are *.yaml and *.yml.
// Hidden ones are left out, those of a pattern as well: in a folder that Kubernetes mounts the names
// are links into a hidden folder.
func (d *decoder) filesOf(in inclusion, cfg *Config) []string {
	folder, pattern := in.path, ""
	info, err := os.Stat(in.path)
	if err != nil && strings.ContainsAny(filepath.Base(in.path), "*?[") {
		folder, pattern = filepath.Split(in.path)
		folder = filepath.Clean(folder)
		info, err = os.Stat(folder)
		if err == nil && !info.IsDir() {
			err = errors.New("is not a folder")
		}
		if _, bad := filepath.Match(pattern, ""); bad != nil {
			d.fault(in.at, "%s is no pattern; * and ? stand for any text and any one character, [a-z] for one of these", quote(in.path))
			return nil
		}
	}
	if err == nil && !info.IsDir() {
		return []string{filepath.Clean(in.path)}
	}
	var entries []os.DirEntry
	if err == nil {
		entries, err = os.ReadDir(folder)
	}
	if err != nil {
		d.fault(in.at, "%s: %v", quote(folder), cause(err))
		return nil
	}
	if at := filepath.Clean(folder) + string(filepath.Separator); !slices.Contains(cfg.Files, at) {
		cfg.Files = append(cfg.Files, at)
	}
	var files []string
	for _, entry := range entries {
		name := entry.Name()
		wanted := strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
		if pattern != "" {
			wanted, _ = filepath.Match(pattern, name)
		}
		if path := filepath.Join(folder, name); wanted && name[0] != '.' && !isFolder(path) {
			files = append(files, path)
		}
	}
	return files
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// includedFile decodes a file of routes: a list of them, or a mapping with routes.
func (d *decoder) includedFile(name string, data []byte, cfg *Config) {
	file, dir := d.file, d.dir
	defer func() { d.file, d.dir, d.of = file, dir, "" }()
	d.file, d.dir, d.of = name, filepath.Dir(name), " of "+filepath.Base(file)

	root := d.document(data, "is empty; routes are needed, or the file is to be taken away")
	if root == nil {
		return
	}
	at := value{node: root, line: root.Line, column: root.Column}
	switch root.Kind {
	case yaml.SequenceNode:
		at.key = "routes"
		includedKeys[0].decode(d, at, cfg)
	case yaml.MappingNode:
		found := includedKeys.mapping(d, at, "", cfg)
		d.need(at, found, "routes", `write e.g. routes: [{backends: ["http://10.0.0.7:9000"]}]`)
	default:
		d.fault(at, "%s; a list of routes is needed, or a mapping with routes", standing(root))
	}
}

// field is the field of a key, which must be there.
func (s schema[T]) field(key string) field[T] {
	for _, f := range s {
		if f.key == key {
			return f
		}
	}
	panic(fmt.Sprintf("no key %s", key))
}

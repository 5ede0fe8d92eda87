package routing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxFileSize bounds a config: some ten thousand routes fit.
const maxFileSize = 4 << 20

// Load reads proxy.yaml, or whatever stands at path in its form, together with the files that it
// includes and the certificates that they name. Variables are those of the environment. The error, unless nil, is Faults: everything wrong that could be found in one reading. No
// message shows what a key file or a variable holds, or a password in a URL.
func Load(path string) (*Config, error) {
	data, err := readFile(path, maxFileSize)
	if err != nil {
		return nil, Faults{{File: path, Problem: err.Error()}}
	}
	return parse(path, data)
}

// parse is Load for a file that has been read. Its path says where relative paths start.
func parse(path string, data []byte) (*Config, error) {
	d := &decoder{file: path, dir: filepath.Dir(path), known: topKeys.keys("")}
	d.environment.lookup = os.LookupEnv
	cfg := &Config{File: path, Files: []string{path}}
	if root := d.document(data, "is empty; listeners and routes are needed"); root != nil {
		d.config(value{node: root, line: root.Line, column: root.Column}, cfg)
	}
	d.forgetFollowing()
	if len(d.faults) > 0 {
		d.faults.sort(cfg.Files)
		return nil, d.faults
	}
	d.warnings.sort(cfg.Files)
	cfg.Warnings = d.warnings
	cfg.FillDefaults()
	return cfg, nil
}

// document gives the root of the file's one document, its variables replaced, nil after a fault without
// which nothing else can be said. empty says what is wrong with a file that has none.
func (d *decoder) document(data []byte, empty string) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := decoder.Decode(&first)
	if err != nil && !errors.Is(err, io.EOF) {
		d.note(syntaxFault(d.file, data, err))
		return nil
	}
	if err != nil || len(first.Content) == 0 || isNull(first.Content[0]) {
		d.note(Fault{File: d.file, Problem: empty})
		return nil
	}
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.note(syntaxFault(d.file, data, err))
	default:
		d.note(Fault{File: d.file, Line: second.Line, Column: second.Column,
			Problem: "a second document begins here; one file is one document"})
	}
	d.expand(first.Content[0], "")
	return first.Content[0]
}

// yaml.v3 names a line in most of its errors, at times the one before, and never a column.
var (
	yamlLine      = regexp.MustCompile(`^yaml: line (\d+): `)
	unknownAnchor = regexp.MustCompile(`unknown anchor '(.*)' referenced`)
	bareStar      = regexp.MustCompile(`(^|[\s:\[,{-])\*`)
)

// syntaxFault is the fault for an error of the YAML parser, with what most often is behind it.
func syntaxFault(file string, data []byte, err error) Fault {
	message := err.Error()
	fault := Fault{File: file}
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		fault.Line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	}
	message = strings.TrimPrefix(message, "yaml: ")
	lines := strings.Split(string(data), "\n")
	hint := ""
	if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		for i, line := range lines {
			if at := strings.Index(line, "*"+m[1]); at >= 0 && fault.Line == 0 {
				fault.Line, fault.Column = i+1, at+1
			}
		}
		message = fmt.Sprintf("there is no anchor &%s", clip(m[1]))
		hint = `; a text that begins with * stands in quotes, as in "*.example.com"`
	}
	if strings.HasPrefix(message, "mapping values are not allowed") {
		hint = `; check the indentation; a text with ": " in it stands in quotes`
	}
	if hint == "" && fault.Line > 0 {
		// The line named, and the next, since the parser may be one early.
		near := lines[min(fault.Line-1, len(lines)):min(fault.Line+1, len(lines))]
		for _, line := range near {
			switch {
			case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
				hint = "; indent with spaces, YAML takes no tabs"
			case strings.Contains(message, "alphabetic") && bareStar.MatchString(line):
				hint = `; a text that begins with * stands in quotes, as in "*.example.com"`
			}
		}
	}
	fault.Problem = "not YAML near here: " + clip(message) + hint
	return fault
}

// readFile reads a whole file of at most limit bytes. Its errors do not name the file.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("is a folder; a file is needed")
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, cause(err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("is too large; at most %d KiB are read", limit>>10)
	}
	return data, nil
}

// cause is what the system said, without operation and path.
func cause(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

package main

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed peers/*
var peerFiles embed.FS

// peer is a proxy that compare starts. Another one joins with an entry in peerTable and a template in peers/.
type peer struct {
	name string
	// program is looked for on the PATH and in the sbin folders.
	program string
	// args are the command line; CONFIG and DIR in it become the rendered configuration and the peer's folder.
	args []string
	// config is the template's name in peers/.
	config string
	// packages of Debian that bring the program; empty if there is none.
	packages string
	// version is the command line that prints the version.
	version []string
	// only limits the peer to some workloads: a variant that differs in nothing else.
	only []string

	// ours marks the builds of wsproxy: they are what the others are compared with.
	ours bool
	// variant is the template's .Variant, for peers that share one.
	variant string
}

// largePayloads are the workloads that large buffers, or none, make a difference to.
var largePayloads = []string{workBulk, workDownload, workUpload}

var peerTable = []peer{
	{
		name: "nginx", program: "nginx", config: "nginx.conf", packages: "nginx-light (or nginx)",
		args: []string{"-p", "DIR", "-c", "CONFIG", "-e", "stderr"}, version: []string{"-v"},
	},
	{
		name: "nginx-64k", program: "nginx", config: "nginx.conf", packages: "nginx-light (or nginx)", variant: "64k",
		args: []string{"-p", "DIR", "-c", "CONFIG", "-e", "stderr"}, version: []string{"-v"}, only: largePayloads,
	},
	{
		name: "haproxy", program: "haproxy", config: "haproxy.cfg", packages: "haproxy",
		args: []string{"-db", "-f", "CONFIG"}, version: []string{"-v"},
	},
	{
		name: "haproxy-splice", program: "haproxy", config: "haproxy-splice.cfg", packages: "haproxy",
		args: []string{"-db", "-f", "CONFIG"}, version: []string{"-v"}, only: largePayloads,
	},
	{
		name: "caddy", program: "caddy", config: "Caddyfile",
		args: []string{"run", "--config", "CONFIG", "--adapter", "caddyfile"}, version: []string{"version"},
	},
}

// ourPeer is a build of wsproxy.
func ourPeer(name, program, engine string) peer {
	return peer{
		name: name, program: program, config: "wsproxy.yaml", ours: true, variant: engine,
		args: []string{"run", "-c", "CONFIG"}, version: []string{"version"},
	}
}

// peerConfig is what a template is rendered with. Everything is on 127.0.0.1.
type peerConfig struct {
	Dir         string // the peer's own folder, its working directory
	Port        int    // for ws and http
	TLSPort     int    // for wss and https
	BackendPort int
	Cert, Key   string // PEM files
	Bundle      string // both in one file
	Descriptors int    // open files allowed to one process
	MaxLinks    int    // what fits into Descriptors at two for each link
	Variant     string // of the peer: wsproxy's engine, nginx's buffer size; empty for the default
}

// takesPart tells whether the peer is measured with a workload.
func (p *peer) takesPart(workload string) bool {
	for _, w := range p.only {
		if w == workload {
			return true
		}
	}
	return len(p.only) == 0
}

// find returns the path of the peer's program.
func (p *peer) find() (string, error) {
	path, err := exec.LookPath(p.program)
	if err == nil {
		return filepath.Abs(path)
	}
	if !strings.ContainsRune(p.program, os.PathSeparator) {
		for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
			if path, err := exec.LookPath(filepath.Join(dir, p.program)); err == nil {
				return path, nil
			}
		}
	}
	if p.packages != "" {
		first, _, _ := strings.Cut(p.packages, " ")
		return "", fmt.Errorf("%s is not installed: apt-get install %s brings it (Debian package %s)", p.program, first, p.packages)
	}
	return "", fmt.Errorf("%s is not on the PATH", p.program)
}

// render writes the peer's configuration into c.Dir and returns its path.
func (p *peer) render(c peerConfig) (string, error) {
	c.Variant = p.variant
	all, err := template.New("").Option("missingkey=error").ParseFS(peerFiles, "peers/*")
	if err != nil {
		return "", fmt.Errorf("parse peer templates: %w", err)
	}
	path := filepath.Join(c.Dir, p.config)
	f, err := os.Create(path)
	if err != nil {
		return "", fmt.Errorf("write configuration of %s: %w", p.name, err)
	}
	if err := all.ExecuteTemplate(f, p.config, c); err != nil {
		_ = f.Close()
		return "", fmt.Errorf("render configuration of %s: %w", p.name, err)
	}
	return path, f.Close()
}

// commandLine is the peer's arguments for one rendered configuration.
func (p *peer) commandLine(config, dir string) []string {
	args := make([]string, len(p.args))
	for i, a := range p.args {
		args[i] = strings.NewReplacer("CONFIG", config, "DIR", dir).Replace(a)
	}
	return args
}

// versionOf is the first line that the program says about its version.
func (p *peer) versionOf(path string) string {
	out, _ := exec.Command(path, p.version...).CombinedOutput() // an old build may not know the question
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if line == "" || strings.ContainsRune(line, os.PathSeparator) && strings.Contains(line, filepath.Dir(path)) {
		return "version unknown"
	}
	return line
}

// selectPeers returns the peers of the table with the given names, all if there are none.
func selectPeers(names []string) ([]peer, error) {
	if len(names) == 0 {
		return peerTable, nil
	}
	var known []string
	byName := map[string]peer{}
	for _, p := range peerTable {
		known = append(known, p.name)
		byName[p.name] = p
	}
	var chosen []peer
	for _, n := range names {
		if n == "none" {
			continue
		}
		p, ok := byName[n]
		if !ok {
			return nil, usagef("peer %q: allowed are %s and none", n, strings.Join(known, ", "))
		}
		chosen = append(chosen, p)
	}
	return chosen, nil
}

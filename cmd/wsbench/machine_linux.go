package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// describeMachine says what the figures were measured on, without naming the machine.
func describeMachine() []string {
	model := fieldOf("/proc/cpuinfo", "model name")
	if model == "" {
		model = runtime.GOARCH
	}
	facts := []string{fmt.Sprintf("%d cores (%s)", runtime.NumCPU(), model)}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		facts = append(facts, "Linux "+unix.ByteSliceToString(u.Release[:]))
	}
	var kb int64
	if _, err := fmt.Sscanf(fieldOf("/proc/meminfo", "MemTotal"), "%d kB", &kb); err == nil {
		facts = append(facts, fmt.Sprintf("%.1f GiB of memory", float64(kb)/(1<<20)))
	}
	return append(facts, fmt.Sprintf("%s, %d open descriptors allowed to a process", runtime.Version(), raiseDescriptorLimit()))
}

// fieldOf returns the first "name: value" of a /proc file, "" if there is none.
func fieldOf(path, name string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

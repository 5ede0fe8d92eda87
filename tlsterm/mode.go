//go:build !windows

package tlsterm

import "io/fs"

// readableByOthers reports whether users besides the owner and the group may read a file.
func readableByOthers(mode fs.FileMode) bool { return mode.Perm()&0o004 != 0 }

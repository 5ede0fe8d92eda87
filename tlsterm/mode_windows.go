package tlsterm

import "io/fs"

// readableByOthers cannot be told from the mode on this system.
func readableByOthers(fs.FileMode) bool { return false }

//go:build !race

package splice

const race = false

package routing

import "strings"

// allowedWords is the end of a message about a word that is none of those allowed: "; allowed: a, b",
// with a "did you mean" before it when one is close. prefix stands before each word.
func allowedWords(text, prefix string, words []string) string {
	allowed := "allowed: " + prefix + strings.Join(words, ", "+prefix)
	if word := closest(text, words); word != "" {
		return "; did you mean " + prefix + word + "? " + allowed
	}
	return "; " + allowed
}

// closest is the word that text was most likely meant to be, or empty when none is close.
func closest(text string, known []string) string {
	const longest = 40 // bounds the work; no known word is nearly as long
	text = plain(text)
	if len(text) < 2 || len(text) > longest {
		return ""
	}
	best, bestDistance := "", 3
	if len(text) >= 12 {
		bestDistance++ // such as trusted_proxy for trusted_proxies
	}
	for _, word := range known {
		w := plain(word)
		d := distance(text, w)
		if d > len(w)/2 {
			d = bestDistance
		}
		if len(text) >= 3 && (strings.HasPrefix(w, text) || strings.HasPrefix(text, w) && len(w) >= 3) {
			d = min(d, 2)
		}
		if d < bestDistance {
			best, bestDistance = word, d
		}
	}
	return best
}

// plain takes away what people write differently: case, dashes and underscores.
func plain(text string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(text))
}

// distance is how many bytes must be put in, left out, replaced or swapped with their neighbour to
// make b of a.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

package routing

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// PathPrefix says what becomes of a route's own prefix, which is what stands before the /* of its
// path, on the way to a backend. The zero value keeps it.
type PathPrefix struct {
	// Strip takes the prefix away: of /ws/*, /ws/a becomes /a, and /ws becomes /.
	Strip bool

	// Replace, unless empty, is a path that is put in the prefix's place; Strip is false then. With the
	// route /ws/*, /v2 makes /v2/a of /ws/a and /v2 of /ws, and so does /v2/; with the route /*, /v2/a
	// of /a. With a route for one path, it is sent instead of that.
	Replace string
}

const prefixWant = "write keep, strip, or a path to put in its place, e.g. /v2"

// parsePathPrefix reads keep, strip or a path.
func parsePathPrefix(text string) (PathPrefix, error) {
	switch text {
	case "keep":
		return PathPrefix{}, nil
	case "strip":
		return PathPrefix{Strip: true}, nil
	}
	if !strings.HasPrefix(text, "/") {
		if word := closest(text, []string{"keep", "strip"}); word != "" {
			return PathPrefix{}, fmt.Errorf("%s is unknown; did you mean %s? %s", quote(text), word, prefixWant)
		}
		return PathPrefix{}, fmt.Errorf("%s is unknown; %s", quote(text), prefixWant)
	}
	return PathPrefix{Replace: text}, checkReplacement(text)
}

func checkReplacement(text string) error {
	if base, ok := strings.CutSuffix(text, "/*"); ok {
		if base == "" {
			base = "/"
		}
		return fmt.Errorf("%s has a *; write %s, what follows the prefix stays", quote(text), quote(base))
	}
	switch {
	case strings.ContainsAny(text, "?#"):
		return fmt.Errorf("%s has a query or fragment; write a path alone, the query of the request stays", quote(text))
	case hasDotSegment([]byte(text)):
		return fmt.Errorf("%s has a . or .. segment; write the path that is meant", quote(text))
	case strings.HasPrefix(text, "//") || strings.HasPrefix(text, `/\`):
		// Whoever makes a link of it would take the first segment for a host (RFC 3986 §4.2).
		return fmt.Errorf("%s begins with two slashes; write one", quote(text))
	}
	_, err := parsePath(text)
	return err
}

// check finds what a route with this path, in its normal form, cannot do.
func (p PathPrefix) check(routePath string) error {
	base, isPrefix := strings.CutSuffix(routePath, "/*")
	switch {
	case p == PathPrefix{}:
		return nil
	case p.Strip && p.Replace != "":
		return errors.New("both strip and a replacement")
	case p.Strip && !isPrefix:
		return fmt.Errorf("there is nothing to strip from %s, which is one path; write the path to send instead, e.g. /v2", quote(routePath))
	case p.Strip && base == "":
		return errors.New(`there is nothing to strip from "/*"; write a path to put before every path, e.g. /v2, or leave path_prefix out`)
	case p.Strip:
		return nil
	case isPrefix && base == "" && p.Replace == "/":
		return errors.New(`"/" before every path changes nothing; write a path, e.g. /v2, or leave path_prefix out`)
	case isPrefix && strings.HasSuffix(p.Replace, "//"):
		return fmt.Errorf("%s ends in two slashes; write one or none", quote(p.Replace))
	}
	return checkReplacement(p.Replace)
}

// rewriting is what a PathPrefix does to the targets of one route. The zero value changes nothing.
type rewriting struct {
	on       bool
	from, to string // neither ends in a slash, where the route is a prefix
	isPrefix bool
}

func (p PathPrefix) rewriting(routePath string) rewriting {
	if p == (PathPrefix{}) {
		return rewriting{}
	}
	w := rewriting{on: true, from: routePath, to: p.Replace}
	if base, ok := strings.CutSuffix(routePath, "/*"); ok {
		w.isPrefix, w.from, w.to = true, base, strings.TrimSuffix(w.to, "/")
	}
	return w
}

// Rewrites reports whether Rewrite changes anything.
func (r *Route) Rewrites() bool { return r.rewriting.on }

// Rewrite appends to dst the target that a backend is sent for a client's, and allocates nothing
// else. target is in origin form, path and query, and its path one that the route matched; a target
// that is not passes as it is. dst must not overlap it.
//
// Where the prefix is stripped, slashes left over become one, and so do backslashes among them, which
// browsers take for slashes: /ws//evil must not reach a backend as //evil, which it, or a browser
// that it sends there, may take for a host.
func (r *Route) Rewrite(dst, target []byte) []byte {
	w := &r.rewriting
	if !w.on || len(target) < len(w.from) || string(target[:len(w.from)]) != w.from {
		return append(dst, target...)
	}
	rest := target[len(w.from):]
	if w.to == "" {
		dst, rest = append(dst, '/'), bytes.TrimLeft(rest, `/\`)
	}
	dst = append(dst, w.to...)
	return append(dst, rest...)
}

// StripsPrefix is what Rewrite takes away from the start of a path, "/ws" for the route /ws/*, and
// so what a backend must put before its own paths to give one that a client can ask for. It is empty
// when the path is kept, when the route is for one path, and when something is only put before.
func (r *Route) StripsPrefix() string {
	if !r.rewriting.isPrefix {
		return ""
	}
	return r.rewriting.from
}

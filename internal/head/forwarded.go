package head

import (
	"bytes"
	"iter"
)

// appendForwarded appends the element that we add to Forwarded (RFC 7239 §4).
func (o *Origin) appendForwarded(dst []byte) []byte {
	dst = append(dst, "for="...)
	if o.Peer.IsValid() && plainAddr(o.Peer).Is6() {
		dst = append(dst, `"[`...)
		dst = o.appendPeer(dst)
		dst = append(dst, `]"`...)
	} else {
		dst = o.appendPeer(dst)
	}
	if o.Host != "" {
		dst = append(dst, ";host="...)
		dst = appendQuoted(dst, o.Host)
	}
	dst = append(dst, ";proto="...)
	return append(dst, o.Proto...)
}

// appendQuoted appends text as it is when it is a token, else as a quoted string (RFC 9110 §5.6.4).
func appendQuoted(dst []byte, text string) []byte {
	if IsToken([]byte(text)) {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for i := range len(text) {
		if text[i] == '"' || text[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, text[i])
	}
	return append(dst, '"')
}

// forwardedElements yields the elements of the Forwarded fields of a block as one list. A field in
// which a quoted string has no end hides who wrote what in it: an unknown stands for all of it, lest
// it swallow what follows or what it follows be believed.
func forwardedElements(block []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for f := range Fields(block) {
			if kindOf(f.Name) != kindForwarded {
				continue
			}
			if quoteOpen(f.Value) {
				f.Value = []byte("for=unknown")
			}
			for e := range Elements(f.Value) {
				if !yield(e) {
					return
				}
			}
		}
	}
}

func quoteOpen(value []byte) bool {
	for {
		end, open := listEnd(value)
		if open || end == len(value) {
			return open
		}
		value = value[end+1:]
	}
}

// forwardedForElements yields the elements of the X-Forwarded-For fields of a block as one list.
func forwardedForElements(block []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for f := range Fields(block) {
			if kindOf(f.Name) != kindForwardedFor {
				continue
			}
			for e := range plainElements(f.Value) {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// plainElements is Elements for lists that know no quoted strings: a client that begins one must not
// have it reach over what a proxy appends.
func plainElements(value []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(value) > 0 {
			var element []byte
			element, value, _ = bytes.Cut(value, comma)
			if element = trim(element); len(element) > 0 && !yield(element) {
				return
			}
		}
	}
}

var comma = []byte(",")

// forNode is the value of the one for parameter of an element of Forwarded, without quotes. It is nil
// when there is none, or several, or one that is no value.
func forNode(element []byte) (node []byte) {
	for len(element) > 0 {
		end := paramEnd(element)
		name, value, _ := bytes.Cut(trim(element[:end]), []byte("="))
		element = element[min(end+1, len(element)):]
		if !EqualFold(name, "for") {
			continue
		}
		if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		if node != nil || len(value) == 0 || bytes.ContainsAny(value, `"\`) {
			return nil
		}
		node = value
	}
	return node
}

// paramEnd is the index of the first semicolon outside a quoted string, or len(element).
func paramEnd(element []byte) int {
	quoted := false
	for i := 0; i < len(element); i++ {
		switch {
		case quoted && element[i] == '\\':
			i++
		case element[i] == '"':
			quoted = !quoted
		case element[i] == ';' && !quoted:
			return i
		}
	}
	return len(element)
}

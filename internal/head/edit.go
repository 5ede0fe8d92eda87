package head

// Edit is what an operator wants changed in the fields of a head, whatever else has been done to
// them: Remove comes first, then Set, then Add.
//
// It obeys. That no edit names Host, Connection, Upgrade, Content-Length, Transfer-Encoding or
// Sec-WebSocket-*, which frame a message or make a handshake what it is, that every name is a token,
// and that no value has a control character, is the caller's to see to.
type Edit struct {
	// Remove are names; every field that has one of them, in any case, goes.
	Remove []string

	// Set are fields that there is to be one of: each takes the place of the first field of its name,
	// further ones go. Where there is none it is appended. Of two with one name the first counts.
	Set []Field

	// Add are fields that are appended, whatever there is.
	Add []Field
}

// apply edits the field lines from start to the end of dst, which have no empty line behind them yet.
func (e *Edit) apply(dst []byte, start int) []byte {
	if e == nil {
		return dst
	}
	end := len(dst)
	for f := range Fields(dst[start:end]) {
		switch set := e.set(f.Name); {
		case e.removes(f.Name):
		case set == nil:
			dst = AppendField(dst, f.Name, f.Value)
		case !hasField(dst[end:], set.Name):
			dst = AppendField(dst, set.Name, set.Value)
		}
	}
	for _, f := range e.Set {
		if !hasField(dst[end:], f.Name) {
			dst = AppendField(dst, f.Name, f.Value)
		}
	}
	for _, f := range e.Add {
		dst = AppendField(dst, f.Name, f.Value)
	}
	// The edited lines stand behind those that they replace.
	return dst[:start+copy(dst[start:], dst[end:])]
}

func (e *Edit) removes(name []byte) bool {
	for _, n := range e.Remove {
		if EqualFold(name, n) {
			return true
		}
	}
	return false
}

func (e *Edit) set(name []byte) *Field {
	for i := range e.Set {
		if equalFold(name, e.Set[i].Name) {
			return &e.Set[i]
		}
	}
	return nil
}

func hasField(block, name []byte) bool {
	for f := range Fields(block) {
		if equalFold(f.Name, name) {
			return true
		}
	}
	return false
}

package tlsterm

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"time"
)

// files is what a listener remembers of the files that it has read.
type files struct {
	ticketKeys, clientCA [sha256.Size]byte

	// faults are those that have been logged, by file: each is worth a line once.
	faults map[string]string

	// warned is when it was last said of a certificate that it expires, by file.
	warned map[string]time.Time
}

// Reloaded is what came of a reload.
type Reloaded struct {
	// Changed are the files, of each pair that of the certificate, whose new content is in use.
	Changed []string

	// Kept are the files that could not be used; what was read before stays in use.
	Kept []string
}

func (r *Reloaded) add(more Reloaded) {
	r.Changed = append(r.Changed, more.Changed...)
	r.Kept = append(r.Kept, more.Kept...)
}

// Reload reads the listener's certificates, ticket keys and client CA anew and takes over, for
// handshakes from now on, those that have changed. What is broken is logged, a line for each file,
// and leaves the old in use. Unless all is set, faults that stay are logged only once.
func (l *Listener) Reload(all bool) Reloaded {
	l.reloading.Lock()
	defer l.reloading.Unlock()
	if l.files.faults == nil || all {
		l.files.faults = make(map[string]string)
	}
	var r Reloaded
	if !l.secure() {
		return r
	}
	l.reloadCertsLocked(&r)
	if file := l.cfg.TicketKeys; file != "" && !l.cfg.NoTickets {
		l.reloadFileLocked(&r, "ticket keys", file, &l.files.ticketKeys, func(data []byte) error {
			keys, err := parseTicketKeys(data)
			if err == nil {
				l.tls.SetSessionTicketKeys(keys)
				warnReadable(l.cfg.Log, file)
			}
			return err
		})
	}
	if file := l.cfg.ClientCA; file != "" && l.cfg.ClientAuth != NoClientCert {
		l.reloadFileLocked(&r, "client CA", file, &l.files.clientCA, func(data []byte) error {
			pool, err := parsePool(data)
			if err == nil {
				l.settings.Store(l.newSettings(pool))
			}
			return err
		})
	}
	return r
}

// reloadCertsLocked reads each pair; one that is broken does not keep the others back.
func (l *Listener) reloadCertsLocked(r *Reloaded) {
	old := l.certs.Load()
	if old == nil {
		return
	}
	all, changed := slices.Clone(old.all), false
	for i, one := range all {
		if one.pair.Cert == "" {
			continue
		}
		again, err := load(one.pair)
		if err != nil {
			l.keptLocked(r, "certificate", one.pair.Cert, err)
			continue
		}
		delete(l.files.faults, one.pair.Cert)
		if again.sum == one.sum {
			continue
		}
		all[i], changed = again, true
		r.Changed = append(r.Changed, one.pair.Cert)
		delete(l.files.warned, one.pair.Cert)
	}
	if !changed {
		return
	}
	l.certs.Store(newCerts(all))
	for i, one := range all {
		if one.sum != old.all[i].sum {
			l.cfg.Log.Info("reloaded certificate", "listener", l.Addr().String(), "file", one.pair.Cert,
				"names", names(one.cert.Leaf), "not_after", one.cert.Leaf.NotAfter.UTC())
		}
	}
	l.warnExpiringLocked(time.Now())
}

// reloadFileLocked reads a file and has it used when it is not what sum stands for.
func (l *Listener) reloadFileLocked(r *Reloaded, what, file string, sum *[sha256.Size]byte, use func([]byte) error) {
	data, err := readFile(file)
	if err != nil {
		l.keptLocked(r, what, file, err)
		return
	}
	now := sha256.Sum256(data)
	if bytes.Equal(now[:], sum[:]) {
		delete(l.files.faults, file)
		return
	}
	if err := use(data); err != nil {
		l.keptLocked(r, what, file, err)
		return
	}
	delete(l.files.faults, file)
	*sum = now
	r.Changed = append(r.Changed, file)
	l.cfg.Log.Info("reloaded "+what, "listener", l.Addr().String(), "file", file)
}

// keptLocked says that a file cannot be used.
func (l *Listener) keptLocked(r *Reloaded, what, file string, err error) {
	r.Kept = append(r.Kept, file)
	if l.files.faults[file] == err.Error() {
		return
	}
	l.files.faults[file] = err.Error()
	l.cfg.Log.Warn("reload "+what+", the old one stays in use", "listener", l.Addr().String(), "file", file, "err", err)
}

// expiresSoon is how long before its end a certificate is warned of, every warnEvery.
const (
	expiresSoon = 14 * 24 * time.Hour
	warnEvery   = 24 * time.Hour
)

// WarnExpiring logs each certificate that has expired, or does soon, unless that was logged within
// the day.
func (l *Listener) WarnExpiring(now time.Time) {
	l.reloading.Lock()
	defer l.reloading.Unlock()
	l.warnExpiringLocked(now)
}

func (l *Listener) warnExpiringLocked(now time.Time) {
	if l.files.warned == nil {
		l.files.warned = make(map[string]time.Time)
	}
	for _, c := range l.Stats().Certificates {
		key := c.File
		if key == "" && len(c.Names) > 0 {
			key = c.Names[0]
		}
		if c.NotAfter.Sub(now) > expiresSoon || now.Sub(l.files.warned[key]) < warnEvery-time.Hour {
			continue
		}
		l.files.warned[key] = now
		message := "certificate expires soon"
		if now.After(c.NotAfter) {
			message = "certificate has expired"
		}
		l.cfg.Log.Warn(message, "listener", l.Addr().String(), "file", c.File, "names", c.Names,
			"not_after", c.NotAfter.UTC(), "days_left", int(c.DaysLeft(now)))
	}
}

// sources are the files that Reload reads.
func (l *Listener) sources() []string {
	if !l.secure() {
		return nil
	}
	var names []string
	if certs := l.certs.Load(); certs != nil {
		for _, one := range certs.all {
			if one.pair.Cert != "" {
				names = append(names, one.pair.Cert, one.pair.Key)
			}
		}
	}
	if l.cfg.TicketKeys != "" && !l.cfg.NoTickets {
		names = append(names, l.cfg.TicketKeys)
	}
	if l.cfg.ClientCA != "" && l.cfg.ClientAuth != NoClientCert {
		names = append(names, l.cfg.ClientCA)
	}
	return names
}

package record

import (
	"crypto/tls"
	"errors"
	"strings"
)

var (
	// ErrTruncated is for whoever reads the connection below: it ended without a close_notify, so
	// that what was received may be a part only (RFC 8446 §6.1). A Session cannot see that.
	ErrTruncated = errors.New("tls connection ended without close_notify")

	// ErrNoKeys is the zero Session's answer.
	ErrNoKeys = errors.New("tls session without keys")
)

// Alerts (RFC 8446 §6, RFC 5246 §7.2.2).
const (
	alertCloseNotify       tls.AlertError = 0
	alertUnexpectedMessage tls.AlertError = 10
	alertBadRecordMAC      tls.AlertError = 20
	alertRecordOverflow    tls.AlertError = 22
	alertIllegalParameter  tls.AlertError = 47
	alertDecodeError       tls.AlertError = 50
	alertProtocolVersion   tls.AlertError = 70
	alertInternalError     tls.AlertError = 80
	alertUserCanceled      tls.AlertError = 90
	alertNoRenegotiation   tls.AlertError = 100
)

// Levels of alerts; TLS 1.3 ignores them (RFC 8446 §6).
const (
	levelWarning = 1
	levelFatal   = 2
)

// AlertError is what failed a Session: an alert that the other side sent, or the one that its
// violation calls for, which is due then.
type AlertError struct {
	Alert    tls.AlertError
	Received bool

	// Reason says more of a violation, where it is known.
	Reason string
}

func (e *AlertError) Error() string {
	name := strings.TrimPrefix(e.Alert.Error(), "tls: ")
	switch {
	case e.Received:
		return "tls alert received: " + name
	case e.Reason != "":
		return "tls violation: " + name + ": " + e.Reason
	}
	return "tls violation: " + name
}

// Unwrap gives the alert itself, as crypto/tls names it.
func (e *AlertError) Unwrap() error { return e.Alert }

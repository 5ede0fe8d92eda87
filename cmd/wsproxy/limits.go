package main

import (
	"log/slog"

	"wsproxy/internal/front"
	"wsproxy/routing"
)

// logLimits says how many links there may be, and warns of a file that has more than the process has
// descriptors for: those that come then are refused because of these, in a worse order.
func logLimits(log *slog.Logger, cfg *routing.Config, descriptors int) {
	if descriptors == 0 {
		return // they are not known here
	}
	most := front.LinksFor(descriptors)
	if cfg.Limits.Links > most {
		log.Warn("limits.links is more than descriptors allow", "links", cfg.Limits.Links, "allowed", most, "descriptors", descriptors,
			"remedy", "raise the limit of open files (LimitNOFILE= for systemd, ulimit -n), or lower limits.links")
	}
	if cfg.Limits.Links > 0 {
		most = min(most, cfg.Limits.Links)
	}
	log.Info("limits", "links", most, "descriptors", descriptors)
}

package platform

import "time"

// Job is a scheduled task of an app, from the cron.json of its release.
type Job struct {
	// ID is a UUID; it stays the same while schedule, command and size do.
	ID    string
	AppID string
	// Schedule has the five fields of a crontab, in UTC.
	Schedule string
	Command  string
	Size     string
	// CreatedAt is when it first appeared, LastRun when it was last started
	// (zero: never).
	CreatedAt time.Time
	LastRun   time.Time
}

// Package cronfile reads cron.json, the scheduled tasks of an app, and
// computes when they are due.
//
// It imports nothing of ours and does no I/O beyond the reader it is given.
// What Parse returns can be used as is: every schedule is due some time, and
// never twice within MinInterval.
package cronfile

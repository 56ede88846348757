// Package greeting stands for a dependency.
package greeting

// Text greets.
const Text = "hello from vendor\n"

// Package rfcdoc holds docs/rfc.md to the code: its test fails when a
// requirement of the complete lists is missing there or stands twice, and when a
// function or a test that is named there does not exist any more.
package rfcdoc

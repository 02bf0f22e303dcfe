// Package rfcdoc holds docs/rfc.md, docs/faults.md and docs/invariants.md to the
// code: its tests fail when a row of the complete lists is missing there or
// stands twice, and when a function or a test that is named there does not exist
// any more.
package rfcdoc

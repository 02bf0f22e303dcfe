// Package dossier is what remains of a run of the battery: the lines of its JSON
// read back (Read), two runs compared (Diff), the ladder of a row's evidence
// (Ladder), and a page of HTML that shows it all (Page.Write).
//
// A page is one file that fetches nothing, runs nothing, and can be read with the
// keyboard, in the dark, and on paper.
package dossier

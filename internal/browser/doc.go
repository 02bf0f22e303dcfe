// Package browser opens reports in a real Chromium, headless. It is a module of
// its own, so that the driver of the browser is nobody else's dependency.
//
// testdata/axe.min.js is axe-core 4.14.1 by Deque Systems, unchanged from its
// npm package, under the Mozilla Public License 2.0 (testdata/axe.LICENSE). It
// judges the page for people who cannot see it, and is no part of rawtcp.
package browser

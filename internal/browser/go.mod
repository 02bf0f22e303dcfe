module rawtcp/internal/browser

go 1.26.0

require (
	github.com/chromedp/chromedp v0.22.1
	rawtcp v0.0.0
)

replace rawtcp => ../..

module rawtcp

go 1.26

module github.com/waggle-mesh/waggle/test/e2e

go 1.26.0

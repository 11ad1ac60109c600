// Package chart holds the Helm chart that installs Waggle in a cluster.
package chart

import "embed"

// Waggle is the chart, in the directory "waggle".
//
//go:embed all:waggle
var Waggle embed.FS

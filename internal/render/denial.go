package render

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// deniedBody is what Cilium's Envoy answers to who is denied.
const deniedBody = "Access denied\r\n"

// Envoy's words where the data path has refused a connection to a backend. No
// other failure has these: it stays 503.
var deniedConnects = []string{
	"immediate connect error: Operation not permitted", // the connect hook, on this node
	"delayed connect error: Protocol not available",    // the backend's node, by ICMP type 3 code 2
	"delayed connect error: Protocol error",            // the same by ICMPv6 type 4
}

func denials() *hcmv3.LocalReplyConfig {
	config := &hcmv3.LocalReplyConfig{}
	for _, words := range deniedConnects {
		config.Mappers = append(config.Mappers, &hcmv3.ResponseMapper{
			Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
				ExtensionFilter: &accesslogv3.ExtensionFilter{
					Name: "envoy.access_loggers.extension_filters.cel",
					ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: packed(&celv3.ExpressionFilter{
						Expression: `response.code == 503 && upstream.transport_failure_reason.contains("` + words + `")`,
					})},
				},
			}},
			StatusCode: number(403),
			Body:       inlineString(deniedBody),
		})
	}
	return config
}

package render

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Certificate renders a certificate and its key. Listeners refer to it by
// name, so that a new certificate touches no listener and no connection.
func Certificate(c model.Certificate) model.Resource {
	secret := &tlsv3.Secret{
		Name: secretName(c.Secret),
		Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inline(c.Chain),
			PrivateKey:       inline(c.PrivateKey),
		}},
	}
	return resource(model.Secret, secret.Name, secret, model.Ref{Kind: "Secret", Name: c.Secret})
}

func inline(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}

// terminated is the TLS of a chain that presents certificates.
func terminated(certificates []model.Name, clients model.Clients) *corev3.TransportSocket {
	sources := make([]*tlsv3.SdsSecretConfig, len(certificates))
	for i, name := range certificates {
		sources[i] = &tlsv3.SdsSecretConfig{Name: secretName(name), SdsConfig: fromControlPlane()}
	}
	protocols := []string{"h2", "http/1.1"}
	if clients.NoALPN {
		protocols = nil
	}
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed(&tlsv3.DownstreamTlsContext{
			CommonTlsContext: &tlsv3.CommonTlsContext{
				TlsParams:                      &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2},
				TlsCertificateSdsSecretConfigs: sources,
				AlpnProtocols:                  protocols,
			},
			RequireClientCertificate: truth(false),
		})},
	}
}

package courier

import (
	"crypto/x509"
	"os"
	"testing"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// With an authority of one's own no other is trusted.
func TestOwnAuthorityAlone(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{TLS: true})
	config, err := Address{CAFile: server.CAFile}.tlsConfig(true)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(server.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	want := x509.NewCertPool()
	if want.AppendCertsFromPEM(text); !config.RootCAs.Equal(want) {
		t.Error("authorities are trusted that were not given")
	}
}

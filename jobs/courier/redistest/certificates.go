package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// writeCertificates makes an authority, and by it certificates for the server and for a client.
func (s *Server) writeCertificates() {
	s.tb.Helper()
	s.CAFile, s.CertFile, s.KeyFile = s.path("ca.crt"), s.path("client.crt"), s.path("client.key")
	authority := certificate("batchwright test authority", 1)
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	key := s.writeCertificate("ca", authority, authority, nil)
	server := certificate("server", 2)
	server.IPAddresses, server.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	s.writeCertificate("server", server, authority, key)
	s.writeCertificate("client", certificate("client", 3), authority, key)
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

func certificate(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// writeCertificate writes NAME.crt and NAME.key and returns the key. Without a key of the parent it signs itself.
func (s *Server) writeCertificate(name string, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	s.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.tb.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.writePEM(name+".crt", "CERTIFICATE", encoded)
	encoded, err = x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.writePEM(name+".key", "PRIVATE KEY", encoded)
	return key
}

func (s *Server) writePEM(name, kind string, content []byte) {
	s.tb.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
	if err := os.WriteFile(s.path(name), text, 0o600); err != nil {
		s.tb.Fatal(err)
	}
}

// Go clients that others wrote: golang.org/x/oauth2 with an assertion, and ZITADEL's JWT profile.
//
//	go-clients assertion    CLIENT_ID, ASSERTION_FILE: clientcredentials with a client assertion
//	go-clients profile      KEY_FILE (ZITADEL's key.json), ISSUER_URI: the JWT bearer grant
//
// Each asks the server at REPLICA, whose CA is in SSL_CERT_FILE, for SCOPES, and prints the token as JSON.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/client/profile"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func main() {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots()}}}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, client)
	source, err := tokenSource(ctx, client, os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	token, err := source.Token()
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(token); err != nil {
		log.Fatal(err)
	}
}

func tokenSource(ctx context.Context, client *http.Client, kind string) (oauth2.TokenSource, error) {
	scopes := strings.Fields(os.Getenv("SCOPES"))
	if kind == "profile" {
		return profile.NewJWTProfileTokenSourceFromKeyFile(ctx, os.Getenv("ISSUER_URI"), os.Getenv("KEY_FILE"), scopes,
			profile.WithHTTPClient(client), profile.WithStaticTokenEndpoint(os.Getenv("ISSUER_URI"), tokenEndpoint()))
	}
	assertion, err := os.ReadFile(os.Getenv("ASSERTION_FILE"))
	if err != nil {
		return nil, err
	}
	config := clientcredentials.Config{
		ClientID:       os.Getenv("CLIENT_ID"),
		TokenURL:       tokenEndpoint(),
		Scopes:         scopes,
		AuthStyle:      oauth2.AuthStyleInParams,
		EndpointParams: url.Values{"client_assertion_type": {assertionType}, "client_assertion": {string(assertion)}},
	}
	return config.TokenSource(ctx), nil
}

func tokenEndpoint() string {
	return os.Getenv("REPLICA") + "/oauth2/token"
}

func roots() *x509.CertPool {
	pem, err := os.ReadFile(os.Getenv("SSL_CERT_FILE"))
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		log.Fatal("SSL_CERT_FILE has no certificate")
	}
	return pool
}

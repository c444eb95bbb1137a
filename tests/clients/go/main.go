// The authenticator of kube-apiserver, with the configuration in the file AUTHENTICATION_CONFIG as kube-apiserver
// reads it. Prints the users of the tokens in the arguments, in their order, as one JSON array. A refusal is a string.
// Without arguments it answers each token on a line of its standard input with `ok`, or why it is refused.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	authenticator, err := authenticator(ctx, os.Getenv("AUTHENTICATION_CONFIG"))
	if err != nil {
		log.Fatal(err)
	}
	if len(os.Args) == 1 {
		answerLines()
		return
	}
	answers := []any{}
	for _, token := range os.Args[1:] {
		response, ok, err := authenticator.AuthenticateToken(ctx, token)
		switch {
		case err != nil:
			answers = append(answers, err.Error())
		case !ok:
			answers = append(answers, "not for this authenticator")
		default:
			answers = append(answers, map[string]any{
				"name": response.User.GetName(), "groups": response.User.GetGroups(), "extra": response.User.GetExtra(),
			})
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}

// answerLines takes as long as its standard input.
func answerLines() {
	ctx := context.Background()
	authenticator, err := authenticator(ctx, os.Getenv("AUTHENTICATION_CONFIG"))
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if _, ok, err := authenticator.AuthenticateToken(ctx, lines.Text()); err != nil || !ok {
			fmt.Println("refused:", err)
		} else {
			fmt.Println("ok")
		}
	}
}

func authenticator(ctx context.Context, file string) (oidc.AuthenticatorTokenWithHealthCheck, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	config := &apiserver.AuthenticationConfiguration{}
	if err := runtime.DecodeInto(codecs.UniversalDecoder(), data, config); err != nil {
		return nil, err
	}
	issuer := config.JWT[0]
	authenticator, err := oidc.New(ctx, oidc.Options{
		JWTAuthenticator:  issuer,
		CAContentProvider: pem(issuer.Issuer.CertificateAuthority),
		// What kube-apiserver accepts with such a configuration.
		SupportedSigningAlgs: oidc.AllValidSigningAlgorithms(),
	})
	if err != nil {
		return nil, err
	}
	// The authenticator fetches the issuer's metadata in the background.
	ready := func(context.Context) (bool, error) { return authenticator.HealthCheck() == nil, nil }
	err = wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, ready)
	return authenticator, err
}

type pem string

func (p pem) CurrentCABundleContent() []byte { return []byte(p) }

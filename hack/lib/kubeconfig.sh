# shellcheck shell=bash
# Writes kubeconfig files that need no other file beside them.

# kubeconfig SERVER CA_FILE CREDENTIALS prints a kubeconfig; CREDENTIALS are the lines of its one user, as the two
# functions below print them.
kubeconfig() {
	cat <<-EOF
		apiVersion: v1
		kind: Config
		current-context: postern
		contexts:
		- name: postern
		  context: {cluster: postern, user: postern}
		clusters:
		- name: postern
		  cluster:
		    server: $1
		    certificate-authority-data: $(base64 -w0 "$2")
		users:
		- name: postern
		  user:
		$3
	EOF
}

# certificate_credentials CERTIFICATE_FILE KEY_FILE
certificate_credentials() {
	printf '    client-certificate-data: %s\n' "$(base64 -w0 "$1")"
	printf '    client-key-data: %s\n' "$(base64 -w0 "$2")"
}

# token_credentials TOKEN
token_credentials() { printf '    token: %s\n' "$1"; }

{{/* Names are cut to 50 characters: a Service may have 63, and some objects add a word of their own. */}}
{{- define "postern.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "postern.fullname" -}}
{{- $name := include "postern.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The processes of an installation: a JSON list. Each is a subcommand of postern, with a Deployment and an account of
its own. */}}
{{- define "postern.components" -}}
{{- ternary (list "run") (list "serve" "control") (eq .Values.mode "Single") | toJson }}
{{- end }}

{{/* The component that answers token requests. */}}
{{- define "postern.servingComponent" -}}
{{- include "postern.components" . | fromJsonArray | first }}
{{- end }}

{{/* Name of what belongs to a component. Takes the root context and the component. */}}
{{- define "postern.componentName" -}}
{{- $suffix := ternary "" (printf "-%s" (last .)) (eq (last .) "run") }}
{{- printf "%s%s" (include "postern.fullname" (first .)) $suffix }}
{{- end }}

{{/* Name of a component's ServiceAccount. Takes the root context and the component. */}}
{{- define "postern.serviceAccountName" -}}
{{- $suffix := ternary "" (printf "-%s" (last .)) (eq (last .) "run") }}
{{- with (first .) }}
{{- printf "%s%s" (.Values.serviceAccount.name | default (include "postern.fullname" .)) $suffix }}
{{- end }}
{{- end }}

{{/* The accounts of the operator as the API server knows them: a JSON list. */}}
{{- define "postern.operatorAccounts" -}}
{{- $accounts := list }}
{{- range $component := include "postern.components" . | fromJsonArray }}
{{- $account := include "postern.serviceAccountName" (list $ $component) }}
{{- $accounts = append $accounts (printf "system:serviceaccount:%s:%s" $.Release.Namespace $account) }}
{{- end }}
{{- $accounts | toJson }}
{{- end }}

{{/* What selects the pods of all components. */}}
{{- define "postern.selectorLabels" -}}
app.kubernetes.io/name: {{ include "postern.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What selects the pods of one. Takes the root context and the component. */}}
{{- define "postern.componentLabels" -}}
{{ include "postern.selectorLabels" (first .) }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{- define "postern.labels" -}}
{{ include "postern.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "postern.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* Name of the token endpoint's port and its scheme. */}}
{{- define "postern.scheme" -}}
{{- ternary "http" "https" .Values.insecureHttp }}
{{- end }}

{{- define "postern.issuer" -}}
{{- required "issuer is required: the https URL by which clients and APIs know this token issuer, for example --set issuer=https://postern.example.com" .Values.issuer }}
{{- end }}

{{/* DNS names of the Service, comma-separated, and those that were added. */}}
{{- define "postern.certificateNames" -}}
{{- $service := include "postern.fullname" . }}
{{- $namespace := .Release.Namespace }}
{{- $names := list
  (printf "%s.%s.svc" $service $namespace)
  (printf "%s.%s.svc.%s" $service $namespace .Values.clusterDomain)
  (printf "%s.%s" $service $namespace)
  $service }}
{{- concat $names .Values.tls.additionalNames | uniq | join "," }}
{{- end }}

{{/* Enforces an admission policy. Takes the root context and the policy's name. */}}
{{- define "postern.policyBinding" -}}
{{- $root := index . 0 }}
{{- $policy := index . 1 -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $policy }}
  labels:
    {{- include "postern.labels" $root | nindent 4 }}
spec:
  policyName: {{ $policy }}
  validationActions: [Deny]
{{- end }}

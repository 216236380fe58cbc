{{/* Names, labels, and conditions, which also hold for values of older charts. */}}

{{- define "s3proxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "s3proxy.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "s3proxy.selectorLabels" -}}
app.kubernetes.io/name: {{ include "s3proxy.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "s3proxy.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "s3proxy.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "s3proxy.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "s3proxy.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{- default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- define "s3proxy.image" -}}
{{- $image := .Values.image -}}
{{- if kindIs "string" $image -}}
{{- $image -}}
{{- else if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end }}

{{- define "s3proxy.pullPolicy" -}}
{{- if kindIs "map" .Values.image }}{{ .Values.image.pullPolicy }}{{ else }}IfNotPresent{{ end -}}
{{- end }}

{{/* "yes" for a release with the values of Constellation's chart. */}}
{{- define "s3proxy.constellation" -}}
{{- if .Values.awsAccessKeyID }}yes{{ end -}}
{{- end }}

{{- define "s3proxy.dnsRedirection" -}}
{{- if or .Values.dnsRedirection.enabled (include "s3proxy.constellation" .) }}yes{{ end -}}
{{- end }}

{{/* Clients that keep AWS's names connect to 443. */}}
{{- define "s3proxy.servicePort" -}}
{{- if include "s3proxy.dnsRedirection" . }}443{{ else }}{{ .Values.service.port }}{{ end -}}
{{- end }}

{{/* "yes" if clients use HTTPS. */}}
{{- define "s3proxy.tls" -}}
{{- if and .Values.tls.enabled (not (has "--no-tls" .Values.args)) }}yes{{ end -}}
{{- end }}

{{- define "s3proxy.scheme" -}}
{{- if include "s3proxy.tls" . }}https{{ else }}http{{ end -}}
{{- end }}

{{/* "yes" if cert-manager issues the certificate. */}}
{{- define "s3proxy.certManager" -}}
{{- if and (include "s3proxy.tls" .) (not .Values.tls.existingSecret) (or .Values.cert.enable (include "s3proxy.constellation" .)) }}yes{{ end -}}
{{- end }}

{{/* "yes" if the release has its own certificate authority. */}}
{{- define "s3proxy.selfSigned" -}}
{{- if or .Values.cert.selfSigned (and (include "s3proxy.constellation" .) (not .Values.cert.issuerRefName)) }}yes{{ end -}}
{{- end }}

{{- define "s3proxy.tlsSecret" -}}
{{- if not (include "s3proxy.tls" .) -}}
{{- else if .Values.tls.existingSecret -}}
{{- .Values.tls.existingSecret -}}
{{- else if include "s3proxy.certManager" . -}}
{{- printf "%s-tls" (include "s3proxy.fullname" .) -}}
{{- end -}}
{{- end }}

{{/* "yes" with more than one replica. */}}
{{- define "s3proxy.replicated" -}}
{{- if .Values.autoscaling.enabled -}}
{{- if gt (int .Values.autoscaling.minReplicas) 1 }}yes{{ end -}}
{{- else if gt (int .Values.replicaCount) 1 }}yes{{ end -}}
{{- end }}

{{/* Labels of the pod of `helm test`. */}}
{{- define "s3proxy.testSelectorLabels" -}}
app.kubernetes.io/name: {{ include "s3proxy.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Names by which clients reach the proxy. */}}

{{- define "s3proxy.serviceHost" -}}
{{- printf "%s.%s.svc" (include "s3proxy.fullname" .) .Release.Namespace -}}
{{- end }}

{{/*
The names in cert-manager's certificate, as a YAML list. They include the Service's names if that is requested, if no
other DNS name is given, and if the release has its own authority, which signs any name. A public authority would
refuse them. With DNS redirection, the program serves only AWS's names.
*/}}
{{- define "s3proxy.certificateNames" -}}
{{- $fullname := include "s3proxy.fullname" . -}}
{{- $names := list -}}
{{- with .Values.cert.commonName }}{{ $names = append $names . }}{{ end -}}
{{- $given := .Values.cert.dnsName -}}
{{- if kindIs "string" $given }}{{ $given = list $given | compact }}{{ end -}}
{{- $names = concat $names (default list $given) -}}
{{- $redirection := include "s3proxy.dnsRedirection" . -}}
{{- if $redirection }}{{ $names = concat $names (include "s3proxy.awsNames" . | fromYamlArray) }}{{ end -}}
{{- if or .Values.cert.serviceNames (and (not $redirection) (or (include "s3proxy.selfSigned" .) (not $given))) -}}
{{- $service := include "s3proxy.serviceHost" . -}}
{{- $names = concat $names (list $fullname (printf "%s.%s" $fullname .Release.Namespace) $service (printf "%s.cluster.local" $service)) -}}
{{- end -}}
{{- toYaml (uniq $names) -}}
{{- end }}

{{/*
The host name in a client's endpoint: the Service's, unless the certificate has only other names. Then it is the
first name without a wildcard, or a name under the wildcard.
*/}}
{{- define "s3proxy.clientHost" -}}
{{- $service := include "s3proxy.serviceHost" . -}}
{{- $host := $service -}}
{{- if include "s3proxy.dnsRedirection" . -}}
{{- $names := include "s3proxy.awsNames" . | fromYamlArray -}}
{{- $host = printf "s3.%s.amazonaws.com" (include "s3proxy.region" .) -}}
{{- if not (has $host $names) }}{{ $host = first $names }}{{ end -}}
{{- else if include "s3proxy.certManager" . -}}
{{- $names := include "s3proxy.certificateNames" . | fromYamlArray -}}
{{- if not (has $service $names) -}}
{{- $host = first $names | replace "*" "s3" -}}
{{- range $names | reverse }}{{ if not (hasPrefix "*" .) }}{{ $host = . }}{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $host -}}
{{- end }}

{{/* The endpoint of a client: scheme, name and the Service's port. */}}
{{- define "s3proxy.endpoint" -}}
{{- $scheme := include "s3proxy.scheme" . -}}
{{- $port := include "s3proxy.servicePort" . -}}
{{- printf "%s://%s" $scheme (include "s3proxy.clientHost" .) -}}
{{- if ne $port (eq $scheme "https" | ternary "443" "80") }}:{{ $port }}{{ end -}}
{{- end }}

{{/*
Domains below which a name begins with the bucket, separated by commas: config.virtualHostDomains, or the domains of
wildcards in the Ingress and the routes.
*/}}
{{- define "s3proxy.virtualHostDomains" -}}
{{- $domains := .Values.config.virtualHostDomains -}}
{{- if not (or $domains (regexMatch `(?m)^\s*(listen\.)?virtual_host_domains\s*=` .Values.configuration)) -}}
{{- $hosts := list -}}
{{- range list .Values.ingress .Values.gateway.httpRoute .Values.gateway.tlsRoute -}}
{{- if .enabled }}{{ $hosts = concat $hosts (default list (default .hostnames .hosts)) }}{{ end -}}
{{- end -}}
{{- range $hosts }}{{ if hasPrefix "*." . }}{{ $domains = append $domains (trimPrefix "*." .) }}{{ end }}{{ end -}}
{{- end -}}
{{- join "," (uniq $domains) -}}
{{- end }}

{{/* The region in the program's signatures. */}}
{{- define "s3proxy.region" -}}
{{- default "eu-west-1" .Values.config.region -}}
{{- end }}

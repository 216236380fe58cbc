{{/*
The container's environment. Variables in extraEnv replace the chart's: with server-side apply, a name must
not occur twice.
*/}}

{{/* Variables that only `s3proxy serve` needs. */}}
{{- define "s3proxy.servingEnvironment" -}}
S3PROXY_PORT: "4433"
S3PROXY_ADMIN: {{ printf "%s:%d" .Values.admin.address (int .Values.admin.port) | quote }}
S3PROXY_LISTEN_DRAIN_DELAY: {{ printf "%ds" (int .Values.drain.delaySeconds) }}
S3PROXY_LISTEN_DRAIN_TIMEOUT: {{ printf "%ds" (int .Values.drain.timeoutSeconds) }}
{{- if not .Values.tls.enabled }}
S3PROXY_TLS: "off"
{{- end }}
{{- if not (kindIs "invalid" .Values.config.throttling) }}
S3PROXY_THROTTLING_REQUESTSMAX: {{ int64 .Values.config.throttling | toString | quote }}
{{- end }}
{{- with include "s3proxy.virtualHostDomains" . }}
S3PROXY_VIRTUAL_HOST_DOMAINS: {{ . | quote }}
{{- end }}
{{- with .Values.config.auth }}
S3PROXY_AUTH: {{ . | quote }}
{{- end }}
{{- if .Values.auditStorage.enabled }}
S3PROXY_AUDIT: {{ .Values.auditStorage.mountPath }}/audit.log
{{- end }}
{{- end }}

{{- define "s3proxy.plainEnvironment" -}}
{{- $config := .Values.config -}}
{{- with $config.host }}
S3PROXY_HOST: {{ . | quote }}
{{- else }}
{{- if and (include "s3proxy.dnsRedirection" .) (not .Values.configuration) }}
S3PROXY_HOST: aws
{{- end }}
{{- end }}
{{- with $config.region }}
S3PROXY_REGION: {{ . | quote }}
{{- end }}
{{- with $config.bodyMemory }}
S3PROXY_BODY_MEMORY: {{ . | quote }}
{{- end }}
{{- with include "s3proxy.kms" . }}
S3PROXY_KMS: {{ . | quote }}
{{- end }}
{{- with $config.otlpEndpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- with $config.otlpTracesEndpoint }}
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: {{ . | quote }}
{{- end }}
{{- with $config.otlpHeaders }}
OTEL_EXPORTER_OTLP_HEADERS: {{ . | quote }}
{{- end }}
{{- if include "s3proxy.hasConfiguration" . }}
S3PROXY_CONFIG: /etc/s3proxy/config/s3proxy.toml
{{- end }}
{{- range $file, $_ := include "s3proxy.keyFiles" . | fromYaml }}
S3PROXY_{{ $file | upper | replace "-" "_" }}_FILE: /etc/s3proxy/keys/{{ $file }}
{{- end }}
{{- end }}

{{- define "s3proxy.kms" -}}
{{- if .Values.config.kms -}}
{{- .Values.config.kms -}}
{{- else if and (include "s3proxy.constellation" .) (not (include "s3proxy.keyNamed" .)) -}}
key-service.kube-system:9000
{{- end -}}
{{- end }}

{{/* All variables, as a list: dict "root" $ "serves" (bool). */}}
{{- define "s3proxy.environment" -}}
{{- $root := .root -}}
{{- $extra := include "s3proxy.evaluated" (dict "root" $root "value" $root.Values.extraEnv) | fromYamlArray -}}
{{- $given := dict -}}
{{- range $extra }}{{ $_ := set $given .name true }}{{ end -}}
{{- /* A key given as S3PROXY_ENCRYPT_KEY replaces the file too. */ -}}
{{- range list "ENCRYPT_KEY" "DECRYPT_KEYS" -}}
{{- if hasKey $given (printf "S3PROXY_%s" .) }}{{ $_ := set $given (printf "S3PROXY_%s_FILE" .) true }}{{ end -}}
{{- end -}}
{{- $variables := include "s3proxy.plainEnvironment" $root | fromYaml -}}
{{- $list := list -}}
{{- if .serves -}}
{{- range $name, $value := include "s3proxy.servingEnvironment" $root | fromYaml }}{{ $_ := set $variables $name $value }}{{ end -}}
{{- if and $root.Values.auditStorage.enabled (not (hasKey $given "POD_NAME")) -}}
{{- $list = append $list (dict "name" "POD_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name"))) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $variables -}}
{{- if not (hasKey $given $name) }}{{ $list = append $list (dict "name" $name "value" $value) }}{{ end -}}
{{- end -}}
{{- range $name, $secret := dict "AWS_ACCESS_KEY_ID" "accessKey" "AWS_SECRET_ACCESS_KEY" "secretKey" -}}
{{- $reference := include "s3proxy.secret" (dict "root" $root "name" $secret) -}}
{{- if and $reference (not (hasKey $given $name)) -}}
{{- $parts := splitList " " $reference -}}
{{- $list = append $list (dict "name" $name "valueFrom" (dict "secretKeyRef" (dict "name" (first $parts) "key" (last $parts)))) -}}
{{- end -}}
{{- end -}}
{{- toYaml (concat $list $extra) -}}
{{- end }}

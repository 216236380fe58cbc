{{/*
The source of each secret, in this order: the user's own Secret, a Secret made by vals-operator, and the chart's own
Secret from plain values.
*/}}

{{- define "s3proxy.accessKey" -}}
{{- default .Values.awsAccessKeyID .Values.config.accessKey -}}
{{- end }}

{{- define "s3proxy.secretKey" -}}
{{- default .Values.awsSecretAccessKey .Values.config.secretKey -}}
{{- end }}

{{/* The content of the chart's own Secret, as YAML: plain values without another source. */}}
{{- define "s3proxy.ownSecrets" -}}
{{- $config := .Values.config -}}
{{- $own := dict -}}
{{- range $name, $value := dict
      "accessKey" (include "s3proxy.accessKey" .)
      "secretKey" (include "s3proxy.secretKey" .)
      "encryptKey" $config.encryptKey
      "decryptKeys" $config.decryptKeys -}}
{{- $elsewhere := or (and $config.existingSecret (get $config.secretKeys $name)) (get $.Values.valsSecret $name) -}}
{{- if and $value (not $elsewhere) }}{{ $_ := set $own $name $value }}{{ end -}}
{{- end -}}
{{- toYaml $own -}}
{{- end }}

{{/* The reference for one of accessKey, secretKey, encryptKey, decryptKeys: "SECRET KEY", or nothing. */}}
{{- define "s3proxy.secret" -}}
{{- $root := .root -}}
{{- $name := .name -}}
{{- $config := $root.Values.config -}}
{{- if and $config.existingSecret (get $config.secretKeys $name) -}}
{{- printf "%s %s" $config.existingSecret (get $config.secretKeys $name) -}}
{{- else if get $root.Values.valsSecret $name -}}
{{- printf "%s-vals %s" (include "s3proxy.fullname" $root) $name -}}
{{- else if hasKey (include "s3proxy.ownSecrets" $root | fromYaml) $name -}}
{{- printf "%s %s" (include "s3proxy.fullname" $root) $name -}}
{{- end -}}
{{- end }}

{{/* "yes" with a configuration file, the chart's or the user's. */}}
{{- define "s3proxy.hasConfiguration" -}}
{{- if or .Values.configuration .Values.existingConfigMap .Values.existingConfigSecret }}yes{{ end -}}
{{- end }}

{{/* Key files that the chart mounts: a YAML map from file name to "SECRET KEY". */}}
{{- define "s3proxy.keyFiles" -}}
{{- $root := . -}}
{{- $files := dict -}}
{{- range $name, $file := dict "encryptKey" "encrypt-key" "decryptKeys" "decrypt-keys" -}}
{{- $reference := include "s3proxy.secret" (dict "root" $root "name" $name) -}}
{{- if $reference }}{{ $_ := set $files $file $reference }}{{ end -}}
{{- end -}}
{{- toYaml $files -}}
{{- end }}

{{/* A client's credential for `helm test`: "SECRET KEY" for accessKey or secretKey, or nothing. The proxy's own is
     not a client's if the configuration lists clients. */}}
{{- define "s3proxy.testCredential" -}}
{{- if .root.Values.tests.existingSecret -}}
{{- printf "%s %s" .root.Values.tests.existingSecret .name -}}
{{- else if not (regexMatch `(?m)^\s*\[\[\s*clients\.known\s*\]\]` .root.Values.configuration) -}}
{{- include "s3proxy.secret" . -}}
{{- end -}}
{{- end }}

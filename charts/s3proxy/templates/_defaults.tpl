{{/*
`helm upgrade --reuse-values` passes the values of the release on unchanged, without the defaults of a newer chart:
an older release of this chart lacks the values that were added later, and a release of Intrinsec's or
Constellation's chart has hardly any of ours. Therefore every template begins with `s3proxy.defaults`. It adds
missing values if `valuesVersion` shows that Helm did not merge this chart's values.yaml. Existing values, including
false and empty ones, stay unchanged. After that, no template has to expect a missing value.
*/}}

{{- define "s3proxy.defaults" -}}
{{- if ne (default "" .Values.valuesVersion) .Chart.Version -}}
{{- $defaults := .Files.Get "files/defaults.yaml" | fromYaml -}}
{{- /* Every release of this chart has had the omitted values: if they are missing, the user removed them with null. */ -}}
{{- if and (hasKey .Values "admin") (hasKey .Values "drain") (hasKey .Values "topologySpread") -}}
{{- $defaults = omit $defaults "startupProbe" "livenessProbe" "readinessProbe" "podSecurityContext" "securityContext" "resources" -}}
{{- end -}}
{{- include "s3proxy.addMissing" (dict "values" .Values "defaults" $defaults) -}}
{{- $_ := set .Values "valuesVersion" .Chart.Version -}}
{{- end -}}
{{- end }}

{{/* Changes `values` in place. Sprig's `merge` would replace false and empty values too. */}}
{{- define "s3proxy.addMissing" -}}
{{- range $name, $default := .defaults -}}
{{- $value := get $.values $name -}}
{{- if not (hasKey $.values $name) -}}
{{- $_ := set $.values $name $default -}}
{{- else if and (kindIs "map" $default) (kindIs "map" $value) -}}
{{- include "s3proxy.addMissing" (dict "values" $value "defaults" $default) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/*
AWS's S3 names for the chosen regions, each with its buckets (`*.`), as a YAML list.
*/}}

{{- define "s3proxy.awsNames" -}}
{{- $chosen := .Values.dnsRedirection.regions -}}
{{- $endpoints := .Files.Get "files/aws-regions.yaml" | fromYaml -}}
{{- $names := list -}}
{{- $known := list -}}
{{- range $suffix, $regions := $endpoints.regions -}}
{{- range $region := $regions -}}
{{- $known = append $known $region -}}
{{- if or (not $chosen) (has $region $chosen) -}}
{{- $names = append $names (printf "s3.%s.%s" $region $suffix) -}}
{{- $names = append $names (printf "s3.dualstack.%s.%s" $region $suffix) -}}
{{- if has $region $endpoints.dashed }}{{ $names = append $names (printf "s3-%s.%s" $region $suffix) }}{{ end -}}
{{- if has $region $endpoints.fips -}}
{{- $names = append $names (printf "s3-fips.%s.%s" $region $suffix) -}}
{{- $names = append $names (printf "s3-fips.dualstack.%s.%s" $region $suffix) -}}
{{- end -}}
{{- if eq $region "us-east-1" }}{{ $names = concat $names $endpoints.global }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $chosen -}}
{{- if not (has . $known) -}}
{{- fail (printf "\n\ndnsRedirection.regions: %s is none of AWS's regions that s3proxy knows." .) -}}
{{- end -}}
{{- end -}}
{{- $all := list -}}
{{- range $names }}{{ $all = concat $all (list . (printf "*.%s" .)) }}{{ end -}}
{{- toYaml $all -}}
{{- end }}

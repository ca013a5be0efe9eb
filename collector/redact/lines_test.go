package redact

import (
	"strings"
	"testing"
)

// Lines as they stand on hosts, in command lines, logs, units and files; what is between « and » is secret.
var lines = []string{
	"mysql -uapp -p'«Winter24»' shop", "mysql -uapp -p\"«Winter24»\" shop", "mysqldump --user=app --password='«Winter 24»' shop",
	"mysql --user app --password «Winter24» shop", "mysqladmin -u root -p«Winter24» status", "/usr/bin/mysqld_exporter --mysqld.username=x --mysqld.password=«Winter24»",
	"mysql -u root -p\\'«Winter24»\\' x", "mycli -p «Winter24»", "psql postgresql://app:«Win:ter24»@db/shop", "psql 'host=db user=app password=«Winter24» dbname=x'",
	"PGPASSWORD='«Winter24»' psql", `"Cmd": ["sh","-c","mysql -uapp -p'«Winter24»' shop"]`, "app --password=«Winter24»", "app --password «Winter24»",
	"app -password «Winter24»", "app --passwd=«Winter24» x", "app --db.pass «Winter24»", "app --pass='«Win ter»' x", "java -Ddb.password=«Winter24» -jar a.jar",
	"java -Djavax.net.ssl.keyStorePassword=«changeit9»", "app --secret-id «abc-def-123»", "vault write auth/approle/login role_id=x secret_id=«abc-def-12»",
	"consul --token «abc-def-12»", "app --auth-token=«abc»", "app --api_key «abc12»", "node app.js --jwt-secret=«sunshine»", "rake SECRET_KEY_BASE=«sunshine» x",
	"redis-server --requirepass «sunshine»", "redis-server --masterauth «sunshine»", "redis-cli -h x -a «sunshine»", "redis-cli -u redis://:«sunshine»@h",
	"mongodump --username a --password «sunshine»", "mongodump -u a -p «sunshine»", "rabbitmqctl add_user bob «sunshine»", "rabbitmqctl change_password bob «sunshine»",
	"htpasswd -bc f bob «sunshine»", "htpasswd -nb bob «sunshine»", "echo «sunshine» | docker login -u bob --password-stdin",
	"docker login -u AWS -p «eyJwYXlsb2FkIjoiYWJj» 123.dkr.ecr.eu-west-1.amazonaws.com", "mount -t cifs -o username=bob,password=«sunshine»,vers=3 //h/s /m",
	"//bob:«sunshine»@host/share", "username=bob,pass=«sunshine»", "git clone https://«sunshine12345678901»@github.com/x/y", "curl -ubob:«sunshine» https://x",
	"curl --user 'bob:«sun shine»' x", "curl -H 'X-Auth-Token: «sunshine»' x", "curl -H \"PRIVATE-TOKEN: «sunshine»\"", "curl -d 'user=bob&password=«sunshine»' x",
	"curl --data '{\"password\":\"«sunshine»\"}' x", "wget --password=«sunshine» x", "wget --http-password=«sunshine» x", "sshpass -p«sunshine» ssh x",
	"sshpass -p '«sun shine»' ssh x", "openssl rsa -passin pass:«sunshine» -in x", "openssl enc -aes-256-cbc -k «sunshine»", "openssl pkcs12 -password pass:«sunshine»",
	"keytool -storepass «sunshine» -keypass «sunshine2»", "jarsigner -storepass «sunshine» x", "aws configure set aws_secret_access_key «abcd/efgh+ijklmnop1»",
	"kubectl create secret docker-registry r --docker-password=«sunshine»", "helm upgrade --set db.password=«sunshine»,x=y", "helm upgrade --set secrets.foo=«sunshine»",
	"influx -username a -password «sunshine»", "snowsql --password «sunshine»", "sqlcmd -U sa -P «sunshine»", "bcp x -U sa -P«sunshine»", "ldapsearch -D cn=a -w«sunshine»",
	"ldappasswd -s «sunshine»", "smbclient -U bob%«sunshine» //x/y", "rsync --password-file=f rsync://bob:«sunshine»@x", "lftp -u bob,«sunshine» h",
	"ftp://bob:«sunshine»@h/x", "sftp://bob:«sun@shine»@h", "nats://bob:«sunshine»@h:4222",
	"nats --creds x --nkey «SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY»", "kcat -X sasl.password=«sunshine»",
	"sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=\"bob\" password=\"«sunshine»\";",
	"consumer.ssl.keystore.password=«sunshine»", "zip -P «sunshine» a b", "7z a -p«sunshine» x", "gpg --passphrase «sunshine» -d", "gpg --batch --passphrase=«sunshine»",
	"restic -r s3:x RESTIC_PASSWORD=«sunshine»", "borg BORG_PASSPHRASE=«sunshine»", "terraform apply -var db_password=«sunshine»",
	"terraform apply -var 'db_password=«sunshine»'", "TF_VAR_db_password=«sunshine»", "//r/:_password=«c3Vuc2hpbmU=»",
	"pip install --index-url https://bob:«sunshine»@pypi/x", "machine h login bob password «sunshine»", "default login bob password «sunshine»",
	"login bob password «sunshine»", "db:5432:*:bob:«sunshine»", "*:*:*:bob:«sunshine»", "Authorization: Basic «Ym9iOnN1bnNoaW5l»", "authorization=Basic «Ym9iOnN1bnNoaW5l»",
	`"Authorization":["Bearer «sunshine1234»"]`, `'authorization': 'Bearer «sunshine1234»'`, "Authorization: Bearer «abcdefgh»", "Authorization: Token «sunshine»",
	"Authorization: token «sunshine»", "Authorization: ApiKey «sunshine»",
	"Authorization: AWS4-HMAC-SHA256 Credential=«AKIAIOSFODNN7EXAMPLE»/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=«fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024»",
	"Authorization: Digest username=\"bob\", response=\"«6629fae49393a05397450978507c4ef1»\"", "Authorization: «sunshine»", "> authorization: basic «Ym9iOnN1bnNoaW5l»",
	"proxy-authorization: Basic «Ym9iOnN1bnNoaW5l»", "x-amz-security-token: «IQoJb3JpZ2luX2VjEJr»", "x-vault-token: «s.abcdefgh»",
	"x-aws-ec2-metadata-token: «AQAEALKJlkjsdf»", "X-Csrf-Token: «sunshine»", "Cookie: «_app_session=sunshine; b=c»", "set-cookie: «a=sunshine»; path=/",
	"x-auth: «sunshine»", "X-Access-Key: «sunshine»", "GET /x?access_token=«sunshine» HTTP/1.1", "GET /x?api_key=«sunshine»&x=1",
	"GET /x?key=«AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe»", "GET /x?apikey=«sunshine»", "GET /x?token=«sunshine»", "GET /x?sig=«sun%2Fshine»&se=1", "GET /x?auth=«sunshine»",
	"GET /x?password=«sunshine»", "GET /x?pw=«sunshine»",
	"https://b.s3.amazonaws.com/k?AWSAccessKeyId=«AKIAIOSFODNN7EXAMPLE»&Signature=«vjbyPxybdZaNmGa%2ByT272YEAiv4%3D»&Expires=1",
	"https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=«ASIAIOSFODNN7EXAMPLE»%2F20260101&X-Amz-Security-Token=«IQoJb3JpZ2lu%2Bx»&X-Amz-Signature=«abcdef0123»",
	`X-Amz-Signature\u003d«abcdef0123»`, "AWS_SECRET_ACCESS_KEY=«wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»", `"SecretAccessKey" : "«wJalrXUtnFEMI/K7MDENG»"`,
	`"Token" : "«IQoJb3Jp»"`, `{"AccessKeyId":"«ASIAIOSFODNN7EXAMPLE»","SecretAccessKey":"«abc»","Token":"defx","Expiration":"2026"}`,
	"export AWS_SESSION_TOKEN=\"«IQoJb3J»\"", "aws_session_token=«IQoJb3J»", "SecretAccessKey:«abcdefg»", "Secret Access Key «wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXA1PLEKY»",
	"credentials{AccessKeyID:«AKIAIOSFODNN7EXAMPLE» SecretAccessKey:«abcdefg/hij» SessionToken:«IQoJ»}",
	"&{«AKIAIOSFODNN7EXAMPLE» «wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXA1PLEKY» }",
	"RoleCredentials: {AccessKeyId: «ASIAIOSFODNN7EXAMPLE», SecretAccessKey: «abcdefg/hij», SessionToken: «IQoJ123»}", "«ghp_16C7e42F292c6912E7710c838347Ae178B4a»",
	"«github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ012345678»", "«rk_live_4eC39HqLyjWDarjtT1zdp7dc»", "«whsec_abcdefghijklmnop1234»",
	"«EAACEdEose0cBA1234567890»", "«pk_live_4eC39HqLyjWDarjtT1zdp7dc»", "«AKCp5abcdefghijklmnopqrst1234»", "https://discord.com/api/webhooks/«123/abcDEF-ghi»",
	"https://x.webhook.office.com/«webhookb2/abc@def/IncomingWebhook/123/456»",
	"https://o1.ingest.sentry.io/1 https://«0123456789abcdef0123456789abcdef»@o1.ingest.sentry.io/1", "«SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY»",
	"«ATATT3xFfGF0abcdefghijklmnop1234=ABCDEF»", "«lin_api_abcdefghijklmnop1234»", "«shpat_0123456789abcdef0123456789abcdef»", "«sk-ant-api03-abcdefghijklmnop1234-ABCD»",
	"«ops_eyJzaWduSW5BZGRyZXNzIjoi12»", `config.password = "«sunshine»"`, `$password = '«sunshine»';`, `'password' => '«sunshine»',`, `:password => "«sunshine»"`,
	`password: «sunshine» # x`, `define('DB_PASSWORD', '«sunshine»');`, `<add key="DbPassword" value="«sunshine»"/>`, `<entry key="db.password">«sunshine»</entry>`,
	`<password encrypted="no">«sunshine»</password>`, `<ns:password>«sunshine»</ns:password>`, `db_password="«sunshine»"`, `let password = String::from("«sunshine»");`,
	`password := "«sunshine»"`, `PASSWORD "«sunshine»"`, `User.create(password: '«sunshine»')`, `{"password":["«sunshine»"]}`, `{"password":{"value":"«sunshine»"}}`,
	`"password": null, "x": 1, "pass": "«sunshine»"`, `Parameters: {"user"=>{"email"=>"x@y", "password"=>"«sunshine»"}}`, `UPDATE users SET password='«sunshine»' WHERE`,
	`password=«sunshine»;`, `[password]=«sunshine»`, `password[0]=«sunshine»`, `user[password]=«sunshine»`, `user%5Bpassword%5D=«sunshine»`, `password\":\"«sunshine»\"`,
	`password\\\":\\\"«sunshine»\\\"`, `password&quot;:&quot;«sunshine»&quot;`, "PASSWORD\t«sunshine»", "password\t=\t«sunshine»", "Password........: «sunshine»",
	"Password ->  «sunshine»", "password is: «sunshine»", "password was set to «Sun-shine9»", "Your temporary password is «Abcdef12» and expires",
	"Generated root password: «kX(3jd8s;2»", "A temporary password is generated for root@localhost: «kX(3jd8s;2»", "GENERATED ROOT PASSWORD: «aeCh3ooz»",
	"initial admin password:\n«0123456789abcdef0123456789abcdef»", "OTP: «123456»", "pin=«1234»", "SetCredential=db:«sunshine»",
	`Environment="DB_PASSWORD=«sun shine»" "X=y"`,
	"Environment=DB_PASSWORD=«sunshine» OTHER_TOKEN=«moonlight»", "ExecStart=/usr/bin/x --token=«sunshine»", "- DB_PASSWORD=«sunshine»", "  DB_PASSWORD: «sunshine»",
	"  - name: DB_PASSWORD\n    value: «sunshine»", "  - name: DB_PASSWORD\n    value: \"«sunshine»\"", "chpasswd:\n  list: |\n    root:«sunshine»\n    bob:«moonlight»\n",
	"users:\n  - name: bob\n    passwd: «$6$abcdefgh$ijklmnopqrst»", "password: «sunshine»\nchpasswd: {expire: False}", "  plain_text_passwd: '«sunshine»'",
	"write_files:\n- path: /root/.netrc\n  content: |\n    machine x login y password «sunshine»",
	"ECS_ENGINE_AUTH_DATA={\"https://index.docker.io/v1/\":{\"username\":\"bob\",\"password\":\"«sunshine»\",\"email\":\"x@y\"}}",
	"echo ECS_ENGINE_AUTH_DATA='{\"r\":{\"auth\":\"«Ym9iOnN1bnNoaW5l»\"}}' >> /etc/ecs/ecs.config",
	"ECS_ENGINE_AUTH_DATA={\\\"r\\\":{\\\"auth\\\":\\\"«Ym9iOnN1bnNoaW5l»\\\"}}", "ECS_ENGINE_AUTH_DATA={\"r\":\n{\"username\":\"bob\",\n\"password\":\n\"«sunshine»\"}}",
	"ECS_ENGINE_AUTH_DATA={\"r\": \\\n {\"auth\": \\\n \"«Ym9iOnN1bnNoaW5l»\"}}", "HTTP_PROXY=http://bob:«sunshine»@p:3128", "HTTPS_PROXY=bob:«sunshine»@p:3128",
	"http_proxy=\"bob:«sunshine»@proxy.local:3128\"", "Proxy bob:«sunshine»@10.0.0.1:3128", "proxy = socks5h://bob:«sunshine»@p",
	"Acquire::http::Proxy \"http://bob:«sunshine»@p/\";", "dial tcp: proxyconnect http://bob:«sun%20shine»@p: refused", "http://bob:«p#ss?w»@p:3128/",
	"http://«bob%3Asunshine%40»p", "-----BEGIN RSA PRIVATE KEY----- «MIIEpAIBAAKCAQEA7bq0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ» -----END RSA PRIVATE KEY-----",
}

// Whatever a line stands in: as it is, in the log of a container, in JSON in such a log.
func TestLines(t *testing.T) {
	for _, text := range lines {
		plain := strings.NewReplacer("«", "", "»", "").Replace(text)
		behind := func(head string) string { return head + strings.ReplaceAll(plain, "\n", "\n"+head) }
		for form, in := range map[string]string{
			"plain": plain, "container": behind("2026-11-21T09:11:33.888075547Z stdout "), "syslog": behind("Nov 21 09:11:33 ip-10-0-0-1 app[12]: "),
			"journal": behind("2026-11-21T09:11:33.888075+0000 ip-10-0-0-1 app[12]: "),
			"JSON":    `{"log":"` + jsonText(plain) + `\n","stream":"stdout"}`, "JSON in JSON": `{"log":"` + jsonText(`{"msg":"`+jsonText(plain)+`"}`) + `\n","stream":"stdout"}`,
		} {
			got := string(newTest().Text("m", []byte(in)))
			for _, part := range strings.Split(text, "«")[1:] {
				secret, _, _ := strings.Cut(part, "»")
				for range 3 {
					if strings.Contains(got, secret) {
						t.Errorf("%s: %q of %s\n  gave %s", form, secret, in, got)
						break
					}
					secret = jsonText(secret)
				}
			}
		}
	}
}

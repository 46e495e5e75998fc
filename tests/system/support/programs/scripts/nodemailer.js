// Nodemailer, one job a line: number, port, tls, login, recipients, files, subjects, attachment.
const fs = require('fs');
const nodemailer = require(process.env.MAIL_NODE_MODULES + '/nodemailer');

async function send(port, tls, login, recipients, files) {
    const smtp = nodemailer.createTransport({
        host: '127.0.0.1',
        port: Number(port),
        secure: false,
        requireTLS: tls === '1',
        ignoreTLS: tls !== '1',
        tls: tls === '1' ? { ca: fs.readFileSync(process.env.MAIL_CA) } : undefined,
        authMethod: login === 'none' ? undefined : login,
        auth: login === 'none' ? undefined : { user: process.env.MAIL_USER, pass: process.env.MAIL_PASSWORD },
        pool: true,
        maxConnections: 1,
    });
    try {
        for (const file of files.split(',')) {
            const envelope = { from: 'erp@contoso.com', to: recipients.split(',') };
            await smtp.sendMail({ envelope, raw: fs.readFileSync(file) });
        }
    } finally {
        smtp.close();
    }
}

(async () => {
    for (const line of fs.readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
        const [number, ...job] = line.split('\t');
        try {
            await send(...job);
            console.log(number, 'ok');
        } catch (error) {
            console.log(number, String(error).replace(/\s+/g, ' '));
        }
    }
})();

"""Words of menus, footers and side bars in the languages of the samples."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """What stands around the text of a page."""

    home: str
    news: str
    about: str
    contact: str
    search: str
    related: str
    popular: str
    newsletter: str
    privacy: str
    terms: str
    reply: str
    login: str
    cart: str
    rights: str
    cookies: str


WORDS = {
    "en": Words("Home", "Latest", "About", "Contact", "Search", "Related articles", "Most read",
                "Subscribe to our newsletter", "Privacy", "Terms of use", "Reply", "Log in", "Add to basket",
                "All content belongs to its authors", "We use cookies. Accept / Settings"),
    "de": Words("Startseite", "Aktuelles", "Über uns", "Kontakt", "Suche", "Das könnte Sie auch interessieren",
                "Meistgelesen", "Newsletter abonnieren", "Datenschutz", "Impressum", "Antworten", "Anmelden",
                "In den Warenkorb", "Die Inhalte gehören ihren Verfassern", "Wir verwenden Cookies. Annehmen"),
    "fr": Words("Accueil", "Actualités", "À propos", "Contact", "Rechercher", "À lire aussi", "Les plus lus",
                "Recevez notre lettre", "Confidentialité", "Mentions légales", "Répondre", "Connexion",
                "Ajouter au panier", "Les textes appartiennent à leurs auteurs",
                "Nous utilisons des cookies. Accepter"),
    "es": Words("Inicio", "Noticias", "Quiénes somos", "Contacto", "Buscar", "Artículos relacionados", "Lo más leído",
                "Suscríbase al boletín", "Privacidad", "Aviso legal", "Responder", "Entrar", "Añadir al carrito",
                "Los textos pertenecen a sus autores", "Usamos cookies. Aceptar"),
    "it": Words("Home", "Notizie", "Chi siamo", "Contatti", "Cerca", "Leggi anche", "I più letti",
                "Iscriviti alla newsletter", "Privacy", "Note legali", "Rispondi", "Accedi", "Aggiungi al carrello",
                "I testi appartengono ai rispettivi autori", "Usiamo i cookie. Accetta"),
    "pt": Words("Início", "Notícias", "Sobre nós", "Contacto", "Pesquisar", "Leia também", "Mais lidos",
                "Assine a newsletter", "Privacidade", "Termos", "Responder", "Entrar", "Adicionar ao carrinho",
                "Os textos pertencem aos seus autores", "Usamos cookies. Aceitar"),
    "pl": Words("Strona główna", "Aktualności", "O nas", "Kontakt", "Szukaj", "Zobacz także", "Najczęściej czytane",
                "Zapisz się do newslettera", "Prywatność", "Regulamin", "Odpowiedz", "Zaloguj się", "Dodaj do koszyka",
                "Treści należą do ich autorów", "Używamy plików cookie. Akceptuję"),
    "tr": Words("Ana sayfa", "Haberler", "Hakkımızda", "İletişim", "Ara", "İlgili yazılar", "En çok okunanlar",
                "Bültene abone olun", "Gizlilik", "Kullanım koşulları", "Yanıtla", "Giriş yap", "Sepete ekle",
                "İçerik yazarlarına aittir", "Çerez kullanıyoruz. Kabul et"),
    "nl": Words("Home", "Nieuws", "Over ons", "Contact", "Zoeken", "Lees ook", "Meest gelezen",
                "Meld je aan voor de nieuwsbrief", "Privacy", "Voorwaarden", "Reageer", "Inloggen",
                "In winkelwagen", "De teksten zijn van hun schrijvers", "Wij gebruiken cookies. Accepteren"),
    "ru": Words("Главная", "Новости", "О нас", "Контакты", "Поиск", "Читайте также", "Популярное",
                "Подпишитесь на рассылку", "Конфиденциальность", "Условия", "Ответить", "Войти", "В корзину",
                "Тексты принадлежат авторам", "Мы используем файлы cookie. Принять"),
    "ja": Words("ホーム", "新着", "サイトについて", "お問い合わせ", "検索", "関連記事", "人気記事",
                "メールマガジン登録", "プライバシー", "利用規約", "返信", "ログイン", "カートに入れる",
                "文章は各著者に帰属します", "クッキーを使用しています。同意する"),
    "zh": Words("首页", "新闻", "关于我们", "联系方式", "搜索",
                "相关文章", "热门文章", "订阅邮件", "隐私政策", "使用条款",
                "回复", "登录", "加入购物车", "文章归作者所有", "本站使用 Cookie。同意"),
    "ko": Words("홈", "새 소식", "소개", "연락처", "검색", "관련 글", "인기 글", "소식지 구독", "개인정보", "이용약관",
                "답글", "로그인", "장바구니 담기", "글은 쓴 사람의 것입니다", "쿠키를 사용합니다. 동의"),
    "ar": Words("الرئيسية", "أخبار", "من نحن", "اتصل بنا", "بحث", "مقالات ذات صلة", "الأكثر قراءة",
                "اشترك في النشرة", "الخصوصية", "شروط الاستخدام", "رد", "تسجيل الدخول", "أضف إلى السلة",
                "النصوص ملك لأصحابها", "نستخدم ملفات الارتباط. موافق"),
}  # fmt: skip
